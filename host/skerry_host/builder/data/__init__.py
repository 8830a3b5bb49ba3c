"""The calibration and evaluation samples of a recipe: read and checked. Knows no model file."""
