"""Runs models on the runtimes that devices use: proves, times and profiles them. Judges no answer."""
