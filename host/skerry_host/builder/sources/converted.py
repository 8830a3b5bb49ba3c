"""The result of every converter. Data only."""

from dataclasses import dataclass
from pathlib import Path

from skerry_host.builder.sources.equivalence import Example


@dataclass(frozen=True, slots=True)
class Ends:
    """Names in a TFLite's signature in the source's order, and what the source calls its outputs.

    TensorFlow puts inputs and outputs into an order of its own.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Converted:
    """A TFLite file, what was done to get it, and the ONNX with fixed shapes that it was converted from, if any.

    `examples`: the source's outputs, for the conversion check. No file: an ONNX that is quantized already, which no
    converter turns into TFLite without loss. `files`: other files that belong to the source, its external data. `ends`:
    None where inputs and outputs are in the source's order.
    """

    file: Path | None
    changes: tuple[str, ...] = ()
    onnx: bytes | None = None
    examples: tuple[Example, ...] = ()
    files: tuple[Path, ...] = ()
    ends: Ends | None = None
