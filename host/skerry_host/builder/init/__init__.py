"""Writes a recipe for a model and data that somebody has: looks at both, tries what can be tried, and says the rest."""
