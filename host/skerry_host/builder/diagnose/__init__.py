"""Which layers of an int8 model lose the signal to quantization noise, and what to try. Changes no model."""
