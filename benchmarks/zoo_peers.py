"""What other tools make of a zoo's model, with their defaults: one file each, or the tool's own last line.

    python zoo_peers.py onnxruntime MODEL.onnx INPUTS.npz OUT.onnx       QDQ by quantize_static
    python zoo_peers.py quantizer MODEL.tflite INPUTS.npz OUT.tflite     litert-quantizer, static int8
    python zoo_peers.py tensorflow MODEL INPUTS.npz OUT.tflite           TFLiteConverter; MODEL: .keras or a SavedModel

INPUTS.npz holds preprocessed calibration inputs by the model's own names, each (N, *the input's shape).
`tensorflow` runs with a converter's Python and needs TensorFlow only.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

MOST = 100


def samples(path: str) -> Iterator[dict[str, Any]]:
    """Each sample's inputs by name."""
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    for at in range(min(MOST, len(next(iter(arrays.values()))))):
        yield {name: array[at] for name, array in arrays.items()}


def onnxruntime(model: str, inputs: str, out: str) -> None:
    """Static QDQ, after the preparation that its documentation asks for."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static  # noqa: PLC0415
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = samples(inputs)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.left, None)

    prepared = out + ".prepared.onnx"
    quant_pre_process(model, prepared, skip_symbolic_shape=True)
    quantize_static(prepared, out, Reader(), quant_format=QuantFormat.QDQ)
    Path(prepared).unlink()


def quantizer(model: str, inputs: str, out: str) -> None:
    """The bare quantizer on the float TFLite, as its own example does it."""
    from litert_quantizer import quantizer as tool  # noqa: PLC0415
    from litert_quantizer import recipe  # noqa: PLC0415

    made = tool.Quantizer(model, recipe.static_wi8_ai8())
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    key, entries = next(iter(Interpreter(model_path=model).get_signature_list().items()))
    rows = [dict(zip(entries["inputs"], row.values(), strict=True)) for row in samples(inputs)]
    made.quantize(made.calibrate({key: rows})).export_model(out, overwrite=True)


def tensorflow(model: str, inputs: str, out: str) -> None:
    """Post-training quantization with int8 inputs and outputs."""
    import tensorflow as tf  # noqa: PLC0415

    if Path(model).is_dir():
        converter = tf.lite.TFLiteConverter.from_saved_model(model)
        names = list(tf.saved_model.load(model).signatures["serving_default"].structured_input_signature[1])
    else:
        loaded = tf.keras.models.load_model(model, compile=False)
        form = [tf.TensorSpec([1, *t.shape[1:]], t.dtype) for t in loaded.inputs]
        function = tf.function(
            lambda *x: loaded(x[0] if len(x) == 1 else list(x), training=False)
        ).get_concrete_function(*form)
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # noqa: PLC0415

        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [convert_variables_to_constants_v2(function)], loaded
        )
        names = []

    def given() -> Iterator[Any]:
        for row in samples(inputs):
            yield {n: row[n] for n in names} if names and set(names) <= set(row) else list(row.values())

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = given
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    Path(out).write_bytes(converter.convert())


PEERS = {"onnxruntime": onnxruntime, "quantizer": quantizer, "tensorflow": tensorflow}

if __name__ == "__main__":
    PEERS[sys.argv[1]](*sys.argv[2:])
