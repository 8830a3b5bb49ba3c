"""Writes a float ONNX model's operators as TFLite's, keeping count of the order of every value's axes."""
