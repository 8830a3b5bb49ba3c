"""What layers of another form cost: float islands and 16 bit, in time on this machine and in bytes. Sentences only.

Times are of this machine, not of a board, and say so.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from skerry_host.builder.modelfile.describe import describe_any
from skerry_host.builder.modelfile.islands import float_left, scope
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.runtime.latency import measure
from skerry_host.builder.runtime.profile.tflite import profile_operators

_BORDERS = {"QUANTIZE", "DEQUANTIZE"}
SHOWN = 5


def mixed_remarks(model: bytes, plan: Quantize, uniform: bytes | None, reference: bytes) -> list[str]:
    """What a person should know of a model whose layers are not all of one form; nothing where they are.

    `uniform` is the same model with 8 bit where this one has 16, `reference` the float one.
    """
    said = []
    if plan.quantizer == "tensorflow":
        said.append("quantized by TensorFlow's quantizer")
    if plan.keep_float:
        said.append(_islands(model))
    if plan.int16_layers and uniform is not None:
        said.append(_wide(model, uniform, reference, plan.int16_layers))
    return [one for one in said if one]


def _islands(model: bytes) -> str:
    graph = describe_any(model)
    floats = float_left(graph)
    inside = [op for op in floats if op.name not in _BORDERS]
    if not inside:
        return ""
    names = [f"{op.name} ({scope(graph, op).partition(';')[0]})" for op in inside]
    held = sum(graph.tensors[i].constant_bytes for op in inside for i in op.inputs)
    share = _share(model, {op.index for op in floats})
    return (
        f"float islands: {len(inside)} of {len(graph.ops)} operators, {share}, {held:,} bytes of float constants: "
        f"{_some(names)}"
    )


def _share(model: bytes, places: set[int]) -> str:
    """How much of the time some operators take, each run alone."""
    with tempfile.TemporaryDirectory(prefix="skerry-islands-") as folder:
        file = Path(folder) / "model.tflite"
        file.write_bytes(model)
        try:
            found = profile_operators(file)
        except ModelError:
            return "their share of the time is not known"
    taken = sum(op.us or 0.0 for op in found.ops if op.index in places)
    return f"{taken / found.sum_us:.0%} of the time on this machine" if found.sum_us else "of no measurable time"


def _wide(model: bytes, uniform: bytes, reference: bytes, layers: Sequence[str]) -> str:
    """Slower than float is a bargain that a person should know of: what is left to gain is the size."""
    slow, fast, real = (measure(one).p50_us / 1000 for one in (model, uniform, reference))
    slower = ", slower than the float model" if slow > real else ""
    return (
        f"16-bit activations in {len(layers)} layers: {slow:.3g} ms instead of {fast:.3g} ms with 8 bit everywhere and "
        f"{real:.3g} ms in float, on this machine{slower}, and {len(model) - len(uniform):+,} bytes beside 8 bit: "
        f"{_some([name.partition(';')[0] for name in layers])}"
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def weakest(found: Sequence[tuple[str, float, float]]) -> list[str]:
    """The names of layers, given (name, SQNR in dB, fall in dB), those that lose most of what comes in first."""
    return [name for name, _sqnr, _fall in sorted(found, key=lambda one: (-one[2], one[1]))]
