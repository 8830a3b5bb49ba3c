"""The formats that a source model may have, one file each; all but a quantized ONNX are converted to TFLite."""
