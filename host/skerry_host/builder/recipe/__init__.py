"""The recipe, the errors of a build and how it reports progress. Imports no other room."""
