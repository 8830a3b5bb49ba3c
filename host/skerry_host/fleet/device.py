"""A device as the fleet sees it: identity, board, tags and what it can run. Knows no database and no wire."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skerry_agent.wire.targets import TargetName
from skerry_host.fleet.errors import FleetError


@dataclass(frozen=True, slots=True)
class Device:
    """One enrolled device; `targets` in its own order of preference."""

    id: str
    board: str
    tags: frozenset[str] = frozenset()
    targets: tuple[TargetName, ...] = ()


def choose_target(device: Device, offered: Iterable[TargetName], release: str) -> TargetName:
    """The first of a device's targets that a release offers; raises `FleetError` when there is none."""
    there = list(offered)
    for target in device.targets:
        if target in there:
            return target
    runs = f"device {device.id} (board {device.board}) runs {_listed(device.targets)}"
    raise FleetError(
        f"{runs}, release {release} has {_listed(there)}",
        hint="build the release for a target of this board, or choose other devices",
        code="no_target",
    )


def _listed(targets: Sequence[str]) -> str:
    return ", ".join(targets) or "no target"
