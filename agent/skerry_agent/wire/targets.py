"""The targets that a bundle can be made for: one `Target` each, and the table of all. Nothing else spells their names.

In messages and on disk a target is its name. An unknown one is refused when it is parsed, like any other value that is
out of range.
"""

from dataclasses import dataclass
from typing import Literal

from skerry_agent.wire.engines import EngineName

TargetName = Literal["cpu", "edgetpu", "onnx"]


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of hardware and model format.

    `suffix` is that of its model files, `fallback` what a device runs whose accelerator is missing. `exclusive`: the
    accelerator admits one process, so the old runner stops first. `engine` runs it; None leaves that to the board.
    """

    name: TargetName
    suffix: str
    fallback: TargetName | None = None
    exclusive: bool = False
    engine: EngineName | None = None


CPU = Target("cpu", ".tflite")
EDGETPU = Target("edgetpu", ".tflite", fallback="cpu", exclusive=True, engine="edgetpu")
ONNX = Target("onnx", ".onnx", engine="onnxruntime")

TARGETS: dict[TargetName, Target] = {target.name: target for target in (CPU, EDGETPU, ONNX)}


def with_fallback(name: str) -> tuple[str, ...]:
    """A target, and what a device without its accelerator needs in its place; an unknown one has nothing."""
    return (name, *(one.fallback for one in TARGETS.values() if one.name == name and one.fallback is not None))
