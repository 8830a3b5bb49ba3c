"""What a build is asked for, and what all of it says: the recipe, its errors, its progress. Imports no other room."""
