"""Model files as data: read, described, rewritten. Runs no model."""
