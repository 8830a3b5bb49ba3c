"""Reads data as people have it: one file for each format, and one table of them."""
