"""How good a model is: metrics, scores, golden outputs, gates. Makes no model."""
