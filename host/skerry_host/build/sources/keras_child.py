"""Keras, SavedModel or Python builder to float TFLite, with TensorFlow: a script for a converter's environment.

`python keras_child.py KIND SOURCE OUT TRUST QAT`: KIND is keras, saved_model or python; TRUST 1 lets the source run
code; QAT 1 says that tensorflow-model-optimization wrapped it: the ranges that it learned end up in the model.
Needs the standard library and TensorFlow only (and for QAT that package): this project is not installed there.
"""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any


def main(kind: str, source: str, out: str, trust: str, qat: str) -> None:
    """Write a float TFLite model to `out`."""
    if qat == "1":
        os.environ["TF_USE_LEGACY_KERAS"] = "1"  # the package knows Keras 2 only
    import tensorflow as tf  # noqa: PLC0415  (slow, and here only)

    trusted = trust == "1"
    if kind == "saved_model":
        converter = tf.lite.TFLiteConverter.from_saved_model(source)
    else:
        load = _wrapped if qat == "1" else _loaded
        converter = _converter(tf, _built(source) if kind == "python" else load(source, trusted))
    Path(out).write_bytes(converter.convert())


def _loaded(source: str, trusted: bool) -> Any:
    import keras  # noqa: PLC0415

    return keras.models.load_model(source, compile=False, safe_mode=not trusted)


def _wrapped(source: str, trusted: bool) -> Any:
    """A model of which `quantize_model` wrapped the layers."""
    import tensorflow_model_optimization as tfmot  # noqa: PLC0415
    import tf_keras  # noqa: PLC0415
    from tf_keras.src.saving.serialization_lib import SafeModeScope  # noqa: PLC0415

    # `safe_mode` of load_model does not reach HDF5 files here, this scope does.
    with tfmot.quantization.keras.quantize_scope(), SafeModeScope(not trusted):
        return tf_keras.models.load_model(source, compile=False)


def _built(source: str) -> Any:
    """What `build()` of a Python file returns."""
    spec = importlib.util.spec_from_file_location("builder", source)
    if spec is None or spec.loader is None:
        raise SystemExit(f"ImportError: {source} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(Path(source).parent))
    spec.loader.exec_module(module)
    return module.build()


def _converter(tf: Any, model: Any) -> Any:
    """From a function with a batch of 1 and constants for variables: what a device runs, and nothing is left open."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # noqa: PLC0415

    (tensor,) = model.inputs
    form = tf.TensorSpec([1, *tensor.shape[1:]], tensor.dtype, name=tensor.name.partition(":")[0])
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(form)
    frozen = convert_variables_to_constants_v2(function)
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen], model)


if __name__ == "__main__":
    main(*sys.argv[1:6])
