"""Keras, SavedModel and Python builders to float TFLite, with TensorFlow in a child process. Quantizes nothing.

A source with code that would run when it is opened is refused unless the user trusts it; the child is not a sandbox.
"""

import json
from pathlib import Path

import msgspec
from msgspec import Struct

from skerry_agent.processing import parse_npz
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import SourcePlan
from skerry_host.builder.sources import code
from skerry_host.builder.sources.child import Conversion, answer, run
from skerry_host.builder.sources.converted import Converted, Ends
from skerry_host.builder.sources.converters import TENSORFLOW, TFMOT, python_with
from skerry_host.builder.sources.equivalence import Example
from skerry_host.builder.sources.kinds import Kind

CHILD = Path(__file__).with_name("keras_child.py")
_NAMES = {"keras": "Keras", "saved_model": "SavedModel", "python": "Python builder"}


_ADVICE = {
    "dtype='string' is not a valid dtype for Keras type promotion": "Keras 3 takes the third argument of compile for "
    "loss_weights: write metrics=[...]",
    "No model config found": "it holds weights alone, or other data: save the whole model with model.save",
    "Failed to find any matching files": "its folder variables/ is missing: copy all of the SavedModel",
    "MetaGraphDef associated with tags": "it has no graph for serving: save it with model.export",
}
"""For errors that do not say what is wrong: a part of their text, and what to do."""
_NOTHING: dict[str, object] = {"signature": "", "shapes": {}, "constants": {}}
_SAFE_MODE = "safe_mode"
"""Part of Keras's own refusal to run code, which suggests turning the check off."""


class Answer(Struct, frozen=True):
    """What the child says: names in the model's signature in the source's order, and what the source calls its outputs.

    Or the `problem` for which there is no model.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    problem: str = ""
    hint: str = ""


def convert(path: Path, kind: Kind, folder: Path, plan: SourcePlan | None = None, *, trusted: bool) -> Converted:
    """A float TFLite of a model; `folder` is for work. Raises `ModelError`, `untrusted` among others."""
    qat = kind != "saved_model" and code.quantization_aware(path)
    if qat and code.is_archive(path):
        raise ModelError(
            f"{path} was trained with quantization: tensorflow-model-optimization cannot open a .keras file of its own",
            hint="save the model as .h5 or as a SavedModel",
            code="qat",
        )
    carried = code_in(path, kind)
    if carried and not trusted:
        raise _untrusted(path, ", ".join(carried))
    out = folder / "made.tflite"
    python = python_with(TFMOT if qat else TENSORFLOW)  # -P: the child's folder has a keras.py, too
    flags = ["1" if flag else "0" for flag in (trusted, qat)]
    wanted = json.dumps(
        {"signature": plan.signature, "shapes": plan.shapes, "constants": plan.constants} if plan else _NOTHING
    )
    command = [python, "-P", str(CHILD), kind, str(path.absolute()), str(out), *flags, wanted]
    try:
        output = run(Conversion(f"TensorFlow, given {path},", command, folder))
    except ModelError as error:
        if _SAFE_MODE in error.message:
            raise _untrusted(path, "Keras found it when it opened the file") from None
        advice = next((advice for words, advice in _ADVICE.items() if words in error.message), "")
        hint = "; ".join(filter(None, (advice, error.hint)))
        raise ModelError(error.message, hint=hint, code=error.code) from None
    return made(path, kind, out, output)


def made(path: Path, kind: Kind, out: Path, output: str) -> Converted:
    """What the child has made at `out`, by its output; raises `ModelError` where it could not."""
    said = msgspec.json.decode(answer(output), type=Answer)
    if said.problem:
        raise ModelError(f"{path} {said.problem}", hint=said.hint, code="unfit")
    changes = (f"{_NAMES[kind]} converted by TensorFlow",)
    return Converted(out, changes, examples=_examples(out), ends=Ends(said.inputs, said.outputs, said.names))


def _untrusted(path: Path, what: str) -> ModelError:
    hint = "if you trust its source, add --trust-source"
    return ModelError(f"{path} contains code that would run on this machine: {what}", hint=hint, code="untrusted")


def _examples(out: Path) -> tuple[Example, ...]:
    """What the child wrote beside the model; nothing where it could not run the source."""
    file = out.with_suffix(".npz")
    if not file.is_file():
        return ()
    arrays = parse_npz(file.read_bytes(), file.name)
    given, wanted = ([arrays[name] for name in sorted(arrays) if name.startswith(kind)] for kind in ("input", "answer"))
    return (Example(given, wanted, exact=True),)


def code_in(path: Path, kind: Kind) -> list[str]:
    """What of a source runs when it is opened."""
    if kind == "python":
        return ["it is a Python file"]
    return code.in_saved_model(path) if kind == "saved_model" else code.in_keras(path)
