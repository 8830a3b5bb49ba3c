"""Float TFLite to int8 TFLite, without TensorFlow: calibration, quantization, and what can be repaired around it."""
