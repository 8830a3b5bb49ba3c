"""What every converter hands on. Data only."""

from dataclasses import dataclass
from pathlib import Path

from skerry_host.builder.sources.faithful import Example


@dataclass(frozen=True, slots=True)
class Converted:
    """A TFLite file, what was done to get it, and the ONNX with fixed shapes if that is what it was.

    `examples`: what the source answers, for comparison. No file: an ONNX that is quantized already, which no converter
    turns into TFLite without harm. `files`: what else the source is made of, beside it.
    """

    file: Path | None
    changes: tuple[str, ...] = ()
    onnx: bytes | None = None
    examples: tuple[Example, ...] = ()
    files: tuple[Path, ...] = ()
