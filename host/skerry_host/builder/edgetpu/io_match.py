"""Whether a compiled file has the inputs and outputs of its source, in the file and on the chip. Pure.

The compiler keeps inputs and outputs to the bit; a file that differs was compiled from another model.
"""

from collections.abc import Iterator, Sequence
from math import prod

from skerry_agent.wire.manifest import TensorSpec
from skerry_host.builder.edgetpu.executable import ExecutableLayer
from skerry_host.builder.edgetpu.inspect import Inspection


def io_differences(source: Inspection, compiled: Sequence[Inspection]) -> list[str]:
    """How a compiled file, or the segments of a pipeline in order, differs from its source; empty if it does not."""
    first, last = compiled[0], compiled[-1]
    return [
        *_io("input", source.inputs, first.inputs),
        *_io("output", source.outputs, last.outputs),
        *_layers(first.inputs, [layer for kind, layer in first.layers() if kind == "in"]),
        *_layers(last.outputs, [layer for kind, layer in last.layers() if kind == "out"]),
    ]


def _io(kind: str, wanted: Sequence[TensorSpec], found: Sequence[TensorSpec]) -> Iterator[str]:
    if len(wanted) != len(found):
        yield f"it has {len(found)} {kind}s, the model has {len(wanted)}"
        return
    for at, (one, two) in enumerate(zip(wanted, found, strict=True)):
        if _form(one) != _form(two):
            yield f"{kind} {at} is {_words(two)}, the model's is {_words(one)}"


def _layers(io: Sequence[TensorSpec], layers: Sequence[ExecutableLayer]) -> Iterator[str]:
    """What the chip reads or writes under the name of an input or output, where no CPU operator stands between."""
    by_name = {spec.name: spec for spec in io}
    for layer in layers:
        spec = by_name.get(layer.name)
        if spec is not None and not _fits(layer, spec):
            sizes = f"{layer.y}x{layer.x}x{layer.z}"
            on_chip = f"{sizes} {layer.dtype}, scale {layer.scale:g}, zero point {layer.zero_point}"
            yield f"on the chip {layer.name} is {on_chip}, in the file {_words(spec)}"


def _fits(layer: ExecutableLayer, spec: TensorSpec) -> bool:
    """By size only where a layer's three say all: a larger rank or batch is not written there."""
    same = (layer.dtype, layer.scale, layer.zero_point) == (spec.dtype, spec.scale, spec.zero_point)
    told = len(spec.shape) <= 4 and spec.shape[:1] == (1,)
    return same and (not told or layer.y * layer.x * layer.z * layer.executions == prod(spec.shape))


def _form(spec: TensorSpec) -> tuple[object, ...]:
    return spec.shape, spec.dtype, spec.scale, spec.zero_point


def _words(spec: TensorSpec) -> str:
    return f"{'x'.join(map(str, spec.shape))} {spec.dtype}, scale {spec.scale:g}, zero point {spec.zero_point}"
