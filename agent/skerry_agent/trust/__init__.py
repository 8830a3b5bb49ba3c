"""Whose signatures this device believes."""
