"""Where an int8 model loses the signal, and what to try. Changes no model."""
