"""What simulated devices do, as data: groups of devices and how each group behaves. Runs nothing.

Durations are lists of values that were recorded on devices; each attempt draws one between two neighbours of the list,
so that a simulated fleet spreads as the recorded one did.
"""

import random
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from skerry_agent.wire.names import ReleaseName

Recorded = Annotated[tuple[Annotated[float, Meta(ge=0)], ...], Meta(min_length=1)]
"""Seconds, as recorded, in any order."""

Share = Annotated[float, Meta(ge=0, le=1)]
Outcomes = dict[str, Share]
"""Outcome to the share of attempts that end so; the rest succeed."""


class Away(Struct, frozen=True, forbid_unknown_fields=True):
    """A device's network comes and goes: so long it is there, so long it is gone. Reports wait meanwhile."""

    online_s: Recorded
    offline_s: Recorded


class Clock(Struct, frozen=True, forbid_unknown_fields=True):
    """A device's wall clock: off by `error_s`; after `jump_after_s` it jumps by `jump_s`, once."""

    error_s: float = 0.0
    jump_after_s: float | None = None
    jump_s: float = 0.0


class Behaviour(Struct, frozen=True, forbid_unknown_fields=True):
    """How a device behaves.

    `runs`: the release that it has from the beginning. `connects`: it does at all. `obeys`: it acts on desired states;
    else it is silent on its deployments. `report_s` is the interval of its telemetry (None: it sends none), `repeats`
    how often it sends each report.
    """

    runs: ReleaseName | None = None
    connects: bool = True
    obeys: bool = True
    report_s: Annotated[float, Meta(gt=0)] | None = 60.0
    repeats: Annotated[int, Meta(ge=1)] = 1
    inferences_per_s: float = 10.0
    latency_us: float = 2000.0
    download_s: Recorded = (0.4, 0.9, 2.0, 6.5)
    verify_s: Recorded = (0.1, 0.2, 0.4)
    stage_s: Recorded = (0.5, 0.8, 1.6)
    probation_s: Recorded = (10.0, 10.1, 10.5)
    download_bytes: int = 30_000
    ends: Outcomes = {}
    away: Away | None = None
    clock: Clock = Clock()


class Group(Struct, frozen=True, forbid_unknown_fields=True):
    """Devices that behave alike; their ids are the name with a number."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,30}\Z")]
    devices: Annotated[int, Meta(ge=1, le=100_000)]
    behaviour: Behaviour = Behaviour()
    board: str = "generic-x86"
    tags: tuple[str, ...] = ()

    @property
    def ids(self) -> list[str]:
        """The devices."""
        return [f"{self.name}-{number:05}" for number in range(self.devices)]


class Scenario(Struct, frozen=True, forbid_unknown_fields=True):
    """A fleet for so many seconds. `connect_per_s` spreads the first connections; the same seed draws the same."""

    groups: Annotated[tuple[Group, ...], Meta(min_length=1)]
    seconds: float = 60.0
    connect_per_s: float = 500.0
    seed: int = 1

    @property
    def devices(self) -> int:
        """How many there are."""
        return sum(group.devices for group in self.groups)


def load(path: Path) -> Scenario:
    """A scenario from a JSON or TOML file; raises `msgspec.ValidationError` and `OSError`."""
    decode = msgspec.toml.decode if path.suffix == ".toml" else msgspec.json.decode
    return decode(path.read_bytes(), type=Scenario)


def draw(recorded: Recorded, chance: random.Random) -> float:
    """A duration between two neighbours of those recorded."""
    ordered = sorted(recorded)
    place = chance.random() * (len(ordered) - 1)
    below = int(place)
    return ordered[below] + (ordered[min(below + 1, len(ordered) - 1)] - ordered[below]) * (place - below)


def draw_outcome(ends: Outcomes, chance: random.Random) -> str:
    """How an attempt ends."""
    point = chance.random()
    for outcome, share in ends.items():
        point -= share
        if point < 0:
            return outcome
    return "succeeded"
