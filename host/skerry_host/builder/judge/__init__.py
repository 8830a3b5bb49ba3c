"""How good a model is: metrics, scores on held-out samples, golden outputs, gates. Makes no model."""
