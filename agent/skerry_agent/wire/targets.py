"""The targets that a bundle can be made for: one `Target` each, and the table of all. Nothing else spells their names.

In messages and on disk a target is its name. An unknown one is refused when it is parsed, like any other value that is
out of range; except where it says what somebody else has (`TargetWord`): another's target is no reason not to hear him.

A target that comes after the first three has its bundles in `Release.newer_bundles`, which agents of before ignore, so
that one release is for boards of both; and each board takes the first of its own targets that a release has.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from msgspec import Meta

from skerry_agent.wire.engines import EngineName

TargetName = Literal["cpu", "edgetpu", "onnx"]
TargetWord = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}\Z")]
"""The name of a target that this code may not know."""


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

FIRST_TARGETS: Final = frozenset({"cpu", "edgetpu", "onnx"})
"""Those that every agent knows: bundles for them are in `Release.bundles`, for all others in `newer_bundles`."""

TARGETS: dict[TargetName, Target] = {target.name: target for target in (CPU, EDGETPU, ONNX)}


def known_target(word: str) -> TargetName | None:
    """A target's name, if this code knows it."""
    return next((name for name in TARGETS if name == word), None)


def with_fallback(name: str) -> tuple[str, ...]:
    """A target, and what a device without its accelerator needs in its place; an unknown one has nothing."""
    return (name, *(one.fallback for one in TARGETS.values() if one.name == name and one.fallback is not None))
