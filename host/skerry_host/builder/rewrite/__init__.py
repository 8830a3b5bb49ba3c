"""Rewritings of a float TFLite graph that keep what it computes and let the quantizer take all of it."""
