"""The kinds of artifact that a build can make, and how the model of each is chosen. Writes no file."""
