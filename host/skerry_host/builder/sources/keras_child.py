"""Keras, SavedModel or Python builder to float TFLite, with TensorFlow: a script for a converter's environment.

`python keras_child.py KIND SOURCE OUT TRUST QAT`: KIND is keras, saved_model or python; TRUST 1 lets the source run
code; QAT 1 says that tensorflow-model-optimization wrapped it: the ranges that it learned end up in the model.
Needs the standard library and TensorFlow only (and for QAT that package): this project is not installed there.
"""

import contextlib
import importlib.util
import json
import os
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

WRITTEN_LATER = {"Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Erf", "Erfc", "Expm1", "Inv"}
WRITTEN_LATER |= {"Reciprocal", "Sinh", "Softsign", "Tan"}
"""The keys of `rewrite.custom_functions.FUNCTIONS`, which is not installed here."""
QAT = "2 (QAT)"
"""Stands for the version of Keras where layers are wrapped: the package that wraps them knows Keras 2 only."""


def main(kind: str, source: str, out: str, trust: str, qat: str) -> None:
    """Write a float TFLite model to `out`, and beside it, as .npz, a sample and the source's outputs for it."""
    version = QAT if qat == "1" else written_by(source) if kind == "keras" else ""
    old = version == QAT or (version.startswith("2.") and importlib.util.find_spec("tf_keras") is not None)
    if old:
        os.environ["TF_USE_LEGACY_KERAS"] = "1"  # before TensorFlow chooses
    import tensorflow as tf  # noqa: PLC0415  (slow, and here only)

    trusted = trust == "1"
    if kind == "saved_model":
        converter = tf.lite.TFLiteConverter.from_saved_model(source)
        form, function = _signature(tf, source)
    else:
        load = _old if old else _loaded
        model = _built(source) if kind == "python" else load(source, trusted, version)
        form, function = _frozen(tf, model)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    Path(out).write_bytes(_converted(converter))
    if form is not None:
        _ask(tf, form, function, Path(out).with_suffix(".npz"))


def _converted(converter: Any) -> bytes:
    """The model; functions that TFLite has no operator for stay as custom operators if they are written out later."""
    try:
        return bytes(converter.convert())
    except Exception as error:  # of a kind that is not public
        named = re.findall(r"^(?:TF Select|Custom) ops: (.+)$", str(error), re.MULTILINE)
        missing = {name.strip() for line in named for name in line.split(",")}
        if not missing or missing - WRITTEN_LATER:
            raise
    converter.allow_custom_ops = True
    return bytes(converter.convert())


def written_by(source: str) -> str:
    """The version of Keras that saved a .keras archive or HDF5 file; empty if it does not say."""
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            found = json.loads(archive.read("metadata.json")).get("keras_version", "")
    else:
        import h5py  # noqa: PLC0415  (comes with TensorFlow)

        with h5py.File(source) as file:
            found = file.attrs.get("keras_version", "")
    return found.decode() if isinstance(found, bytes) else str(found)


def _loaded(source: str, trusted: bool, version: str) -> Any:
    import keras  # noqa: PLC0415

    try:
        return keras.models.load_model(source, compile=False, safe_mode=not trusted)
    except Exception as error:  # of many kinds, and none says so
        if not version.startswith("2."):
            raise
        raise ImportError(f"Keras {version} wrote it, which Keras 3 cannot open: pip install tf-keras") from error


def _old(source: str, trusted: bool, version: str) -> Any:
    """A model of Keras 2, its layers wrapped by `quantize_model` or not."""
    import tf_keras  # noqa: PLC0415
    from tf_keras.src.saving.serialization_lib import SafeModeScope  # noqa: PLC0415

    # `safe_mode` of load_model does not reach HDF5 files here, this scope does.
    with _quantize_scope() if version == QAT else contextlib.nullcontext(), SafeModeScope(not trusted):
        return tf_keras.models.load_model(source, compile=False)


def _quantize_scope() -> Any:
    import tensorflow_model_optimization as tfmot  # noqa: PLC0415

    return tfmot.quantization.keras.quantize_scope()


def _built(source: str) -> Any:
    """What `build()` of a Python file returns."""
    spec = importlib.util.spec_from_file_location("builder", source)
    if spec is None or spec.loader is None:
        raise SystemExit(f"ImportError: {source} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(Path(source).parent))
    spec.loader.exec_module(module)
    return module.build()


def _frozen(tf: Any, model: Any) -> tuple[Any, Any]:
    """The form of its input, and a function with a batch of 1 and constants for variables: nothing is left open."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # noqa: PLC0415

    (tensor,) = model.inputs
    form = tf.TensorSpec([1, *tensor.shape[1:]], tensor.dtype, name=tensor.name.partition(":")[0])
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(form)
    return form, convert_variables_to_constants_v2(function)


def _signature(tf: Any, source: str) -> tuple[Any, Any]:
    """The same of a SavedModel; no form where its inputs are not one of known sizes."""
    loaded = tf.saved_model.load(source)
    named = loaded.signatures["serving_default"].structured_input_signature[1]
    if len(named) != 1:
        return None, None
    ((name, form),) = named.items()
    sizes = form.shape.as_list()
    if None in sizes[1:]:
        return None, None
    fixed = tf.TensorSpec([sizes[0] or 1, *sizes[1:]], form.dtype)
    return fixed, lambda x: loaded.signatures["serving_default"](**{name: x})


def _ask(tf: Any, form: Any, function: Any, out: Path) -> None:
    """Write a random sample and the outputs for it."""
    import numpy as np  # noqa: PLC0415  (comes with TensorFlow)

    if form.dtype != tf.float32 or None in form.shape.as_list():
        return
    sample = np.random.default_rng(0).random(form.shape.as_list(), np.float32)
    answers = tf.nest.flatten(function(tf.constant(sample)))
    named = {f"answer{at:03}": answer.numpy() for at, answer in enumerate(answers)}
    np.savez(out, sample=sample, **named)


if __name__ == "__main__":
    main(*sys.argv[1:6])
