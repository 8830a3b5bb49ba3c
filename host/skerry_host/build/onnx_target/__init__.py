"""The `onnx` target: int8 ONNX for onnxruntime (QDQ), from ONNX sources. Needs the extra [onnx]."""
