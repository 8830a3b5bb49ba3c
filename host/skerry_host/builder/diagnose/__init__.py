"""Finds the layers of an int8 model with the most quantization noise, and suggests what to try. Changes no model."""
