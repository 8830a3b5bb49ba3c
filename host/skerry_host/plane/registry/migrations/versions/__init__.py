"""One module for each step of the registry's schema, in order."""
