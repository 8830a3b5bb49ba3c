"""Runs models on the runtimes that devices use: checks that they run, times and profiles them. Evaluates no output."""
