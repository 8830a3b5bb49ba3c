"""Float TFLite to int8 TFLite, without TensorFlow: calibration, quantization, and corrections before and after it."""
