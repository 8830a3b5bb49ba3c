"""The result of every converter. Data only."""

from dataclasses import dataclass
from pathlib import Path

from skerry_host.builder.sources.equivalence import Example


@dataclass(frozen=True, slots=True)
class Converted:
    """A TFLite file, what was done to get it, and the ONNX with fixed shapes that it was converted from, if any.

    `examples`: the source's outputs, for the conversion check. No file: an ONNX that is quantized already, which no
    converter turns into TFLite without loss. `files`: other files that belong to the source, its external data.
    """

    file: Path | None
    changes: tuple[str, ...] = ()
    onnx: bytes | None = None
    examples: tuple[Example, ...] = ()
    files: tuple[Path, ...] = ()
