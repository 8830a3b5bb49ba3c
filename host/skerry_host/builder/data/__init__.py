"""The samples that a recipe names: read and judged fit. Knows no model file."""
