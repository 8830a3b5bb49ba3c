"""Keras, SavedModel or Python builder to float TFLite, with TensorFlow: a script for a converter's environment.

`python keras_child.py KIND SOURCE OUT TRUST QAT WANTED`: KIND is keras, saved_model or python; TRUST 1 lets the source
run code; QAT 1 says that tensorflow-model-optimization wrapped it: the ranges that it learned end up in the model.
WANTED is JSON with `signature`, the one of a SavedModel to take, and `shapes` and `constants` of inputs. The last line
of its output is JSON, too: `inputs` and `outputs` are the names in the model's signature in the source's order, `names`
what the source calls the outputs; or a `problem` and a `hint`.
Needs the standard library and TensorFlow only (and for QAT that package): this project is not installed there.
"""

import contextlib
import importlib.util
import json
import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

WRITTEN_LATER = {"Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Erf", "Erfc", "Expm1", "Inv"}
WRITTEN_LATER |= {"Reciprocal", "Sinh", "Softsign", "Tan"}
"""The keys of `rewrite.custom_functions.FUNCTIONS`, which is not installed here."""
QAT = "2 (QAT)"
"""Stands for the version of Keras where layers are wrapped: the package that wraps them knows Keras 2 only."""


class UnfitError(Exception):
    """Why a source cannot be converted, and what to do."""


class Converted(NamedTuple):
    """A converter, the forms of the inputs, what the source computes of them, and the names of inputs and outputs.

    `outputs` are the names that the converter gives, `names` the source's own. `most_ids` is how many ids are known.
    """

    converter: Any
    forms: list[Any]
    function: Callable[..., list[Any]]
    inputs: list[str]
    outputs: list[str]
    names: list[str]
    most_ids: int = 2


def main(kind: str, source: str, out: str, trust: str, qat: str, wanted: str) -> None:
    """Write a float TFLite model to `out`, and beside it, as .npz, random inputs and the source's outputs for them."""
    try:
        made = _converted(kind, source, trust == "1", qat == "1", json.loads(wanted))
    except UnfitError as error:
        print(json.dumps({"problem": error.args[0], "hint": error.args[1]}))  # noqa: T201  (the protocol)
        return
    Path(out).write_bytes(_written(made.converter))
    _ask(made, Path(out).with_suffix(".npz"))
    print(json.dumps({"inputs": made.inputs, "outputs": made.outputs, "names": made.names}))  # noqa: T201


def _converted(kind: str, source: str, trusted: bool, qat: bool, wanted: dict[str, Any]) -> Converted:
    version = QAT if qat else written_by(source) if kind == "keras" else ""
    old = version == QAT or (version.startswith("2.") and importlib.util.find_spec("tf_keras") is not None)
    if old:
        os.environ["TF_USE_LEGACY_KERAS"] = "1"  # before TensorFlow chooses
    import tensorflow as tf  # noqa: PLC0415  (slow, and here only)

    if kind == "saved_model":
        return _saved_model(tf, source, wanted)
    load = _old if old else _loaded
    model = _built(source) if kind == "python" else load(source, trusted, version)
    return _keras(tf, model, wanted)


def _written(converter: Any) -> bytes:
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


def _keras(tf: Any, model: Any, wanted: dict[str, Any]) -> Converted:
    """A model with a batch of 1 and constants for variables: nothing is left open."""
    tensors = list(getattr(model, "inputs", None) or [])
    if not tensors:
        raise UnfitError("has inputs of unknown sizes", "call it once before it is saved, or write it with keras.Input")
    settle_recurrent(_layers(model))
    inputs = [tensor.name.partition(":")[0] for tensor in tensors]
    _require_known(wanted, inputs)
    every = [_form(tf, name, tensor, wanted["shapes"]) for name, tensor in zip(inputs, tensors, strict=True)]
    forms = [form for form in every if form.name not in wanted["constants"]]

    def call(*given: Any) -> list[Any]:
        whole = _with_values(tf, every, given, wanted["constants"])
        packed = whole[0] if len(whole) == 1 else tf.nest.pack_sequence_as(model.input, whole)
        return list(tf.nest.flatten(model(packed, training=False)))

    inputs = [form.name for form in forms]
    frozen = _frozen(tf, call, forms)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], model)
    outputs = [f"output_{place}" for place in range(len(frozen.outputs))]
    return Converted(converter, forms, frozen, inputs, outputs, _names(model, outputs), _most_ids(model))


def _with_values(tf: Any, forms: list[Any], given: Sequence[Any], values: dict[str, float]) -> list[Any]:
    """All inputs: those that are given, and constants where the recipe fixes them."""
    rest = iter(given)
    return [
        tf.fill(form.shape, tf.cast(values[form.name], form.dtype)) if form.name in values else next(rest)
        for form in forms
    ]


def _names(model: Any, plain: list[str]) -> list[str]:
    """What the model calls its outputs; plain numbers where there is only one, or names are not of their own."""
    form = getattr(model, "output", None)
    names = sorted(form) if isinstance(form, dict) else list(getattr(model, "output_names", None) or [])
    return names if len(set(names)) == len(plain) > 1 else plain


def _most_ids(model: Any) -> int:
    """Ids under it are in the vocabulary of every embedding; 2 where there is none."""
    return min((int(layer.input_dim) for layer in _layers(model) if type(layer).__name__ == "Embedding"), default=2)


def _layers(model: Any) -> list[Any]:
    """All layers, those within others too."""
    return list(model._flatten_layers() if hasattr(model, "_flatten_layers") else model.layers)  # noqa: SLF001


def settle_recurrent(layers: Sequence[Any]) -> None:
    """Leave out dropout, which counts in variables even where nothing is trained; refuse what remembers samples."""
    for layer in layers:
        if getattr(layer, "stateful", False) is True and hasattr(layer, "cell"):
            raise UnfitError(
                f"has a recurrent layer that keeps its state from sample to sample: {layer.name} (stateful=True)",
                "give the state as an input (initial_state) and an output (return_state=True), and feed it back with "
                "[inputs.NAME] feedback",
            )
        for name in ("dropout", "recurrent_dropout"):
            given = isinstance(getattr(type(layer), name, None), property)  # by the cell, which is a layer, too
            if hasattr(layer, "state_size") and getattr(layer, name, None) and not given:
                setattr(layer, name, 0.0)


def _frozen(tf: Any, call: Callable[..., list[Any]], forms: list[Any]) -> Any:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # noqa: PLC0415

    return convert_variables_to_constants_v2(tf.function(call).get_concrete_function(*forms))


def _saved_model(tf: Any, source: str, wanted: dict[str, Any]) -> Converted:
    loaded = tf.saved_model.load(source)
    key = _key(sorted(loaded.signatures), wanted["signature"])
    function, shapes, values = loaded.signatures[key], wanted["shapes"], wanted["constants"]
    given = function.structured_input_signature[1]
    inputs, names = sorted(given, key=_natural), sorted(function.structured_outputs, key=_natural)
    _require_known(wanted, inputs)
    every = [_form(tf, name, given[name], shapes) for name in inputs]
    forms = [form for form in every if form.name not in values]

    def call(*brought: Any) -> list[Any]:
        answers = function(**dict(zip(inputs, _with_values(tf, every, brought, values), strict=True)))
        return [answers[name] for name in names]

    if any(None in given[name].shape.as_list()[1:] for name in inputs) or shapes or values:
        frozen = _frozen(tf, call, forms)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], loaded)
        plain = [f"output_{at}" for at in range(len(names))]
        return Converted(converter, forms, call, [form.name for form in forms], plain, names)
    only = {} if len(loaded.signatures) == 1 else {"signature_keys": [key]}
    return Converted(tf.lite.TFLiteConverter.from_saved_model(source, **only), forms, call, inputs, names, names)


def _key(there: list[str], wanted: str) -> str:
    """The signature to take: the one asked for, the usual one, or the only one."""
    listed = ", ".join(there)
    if not there:
        raise UnfitError("has no signature", "save it with signatures=..., or with model.export")
    if wanted and wanted not in there:
        raise UnfitError(f"has no signature {wanted!r} (it has {listed})", "name one of them as [source] signature")
    usual = [key for key in (wanted, "serving_default") if key in there] or (there if len(there) == 1 else [])
    if not usual:
        raise UnfitError(f"has {len(there)} signatures ({listed})", "name one of them as [source] signature")
    return usual[0]


def _require_known(wanted: dict[str, Any], inputs: list[str]) -> None:
    for section in ("shapes", "constants"):
        unknown = [name for name in wanted[section] if name not in inputs]
        if unknown:
            hint = f"its inputs are {', '.join(inputs)}"
            raise UnfitError(f"has no input {', '.join(unknown)}, which [source.{section}] names", hint)


def _form(tf: Any, name: str, tensor: Any, shapes: dict[str, list[int]]) -> Any:
    """The form of an input with all sizes: the source's own, [source.shapes] where they are open, a batch of 1."""
    own = list(tensor.shape)
    sizes = list(shapes.get(name, own))
    if len(sizes) == len(own) - 1:
        sizes = [own[0] or 1, *sizes]
    if own and sizes[:1] == [None]:
        sizes = [1, *sizes[1:]]
    if None in sizes:
        key = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
        hint = f"give its sizes in the recipe: [source.shapes] {key} = [{_example(own)}]"
        raise UnfitError(f"has input {name} with the open shape {_shown(own)}", hint)
    fits = len(sizes) == len(own) and all(old in {None, new} for old, new in zip(own, sizes, strict=True))
    if not fits:
        hint = "[source.shapes] gives open sizes; the others are as the model was made"
        raise UnfitError(f"has input {name} of shape {_shown(own)}, not {_shown(sizes)}", hint)
    return tf.TensorSpec(sizes, tensor.dtype, name=name)


def _shown(sizes: Sequence[int | None]) -> str:
    return "x".join("?" if size is None else str(size) for size in sizes)


def _example(sizes: Sequence[int | None]) -> str:
    return ", ".join(["1", *("..." if size is None else str(size) for size in sizes[1:])])


def _natural(name: str) -> list[Any]:
    """Sorts output_2 before output_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _ask(made: Converted, out: Path) -> None:
    """Write random inputs that the source can take, and its outputs for them; nothing where they are of other kinds."""
    import numpy as np  # noqa: PLC0415  (comes with TensorFlow)

    random = np.random.default_rng(0)
    if any(np.dtype(form.dtype.as_numpy_dtype).kind not in "fiub" for form in made.forms):
        return
    given = list(_random(np, random, made))
    import tensorflow as tf  # noqa: PLC0415  (there already)

    answers = tf.nest.flatten(made.function(*(tf.constant(array) for array in given)))
    named = {f"answer{at:03}": answer.numpy() for at, answer in enumerate(answers)}
    np.savez(out, **{f"input{at:03}": array for at, array in enumerate(given)}, **named)


def _random(np: Any, random: Any, made: Converted) -> Iterator[Any]:
    for form in made.forms:
        dtype, sizes = np.dtype(form.dtype.as_numpy_dtype), form.shape.as_list()
        if dtype.kind == "f":
            yield random.random(sizes, np.float32).astype(dtype)
        else:
            most = 2 if dtype.kind == "b" else 256 if dtype == np.uint8 else made.most_ids
            yield random.integers(0, most, sizes).astype(dtype)


if __name__ == "__main__":
    main(*sys.argv[1:7])
