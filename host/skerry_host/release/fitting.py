"""Which bundle of a release a device is to get, and why it gets none: the rule of `wire.admission`, asked by the host.

Pure: asks what a device has reported, orders nothing. A device of which something is not known is not left out: it asks
itself before it fetches, if its agent can, and what is not known is said.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from skerry_agent.wire.admission import DeviceFacts, Obstacle, lasting, obstacles, unknown
from skerry_agent.wire.manifest import Bundle, Release
from skerry_agent.wire.names import split_release
from skerry_agent.wire.runtimes import RuntimeManifest
from skerry_agent.wire.targets import TARGETS, TargetName
from skerry_agent.wire.twin import Reported

MOST_NAMED = 8
"""So many devices are named of each code; the count is of all."""


class Fit(Struct, frozen=True):
    """The target that a device would get; None where something `lasting` is in the way of every one.

    `meanwhile`: why the cpu's bundle would serve until the accelerator can be used. `unknown`: what is not known.
    `runtime` is what it would run with, empty for the base environment's; `runtime_bytes` are those that it would
    download of it.
    """

    target: TargetName | None
    in_the_way: tuple[Obstacle, ...] = ()
    meanwhile: tuple[Obstacle, ...] = ()
    unknown: tuple[str, ...] = ()
    runtime: str = ""
    runtime_bytes: int = 0


class LeftOut(Struct, frozen=True, omit_defaults=True):
    """Devices of a selection for which one code holds: how many, the first of them, and the words of the first."""

    code: str
    count: int
    words: str = ""
    devices: Annotated[tuple[str, ...], Meta(max_length=MOST_NAMED)] = ()


class Admission(Struct, frozen=True, omit_defaults=True):
    """What was known before a rollout began, per code: who is left out, who serves on the cpu first, who said nothing.

    `devices` were ordered, of `of` that were selected.
    """

    devices: int = 0
    of: int = 0
    left_out: tuple[LeftOut, ...] = ()
    meanwhile: tuple[LeftOut, ...] = ()
    unknown: tuple[LeftOut, ...] = ()


def fit(
    release: Release,
    targets: Sequence[TargetName],
    reported: Reported | None,
    runtime: RuntimeManifest | None = None,
) -> Fit:
    """The first of a device's targets in whose way nothing lasting is; of a release without any of them None.

    What a `runtime` brings that it is to run with counts before what the base environment has.
    """
    facts = facts_with(facts_of(reported), runtime)
    offered = [bundle for target in targets for bundle in release.offered if bundle.target == target]
    found = [(bundle, _in_the_way(bundle, release, reported, facts)) for bundle in offered]
    for bundle, obstacle in found:
        if not lasting(obstacle):
            name = runtime.full_name if runtime is not None else ""
            return Fit(bundle.target, (), obstacle, unknown(bundle.needs, facts), name)
    return Fit(None, lasting(found[0][1]) if found else ())


def spare_of(release: Release, target: TargetName, targets: Sequence[TargetName]) -> Bundle | None:
    """The bundle that a device keeps beside that of a target, for when its accelerator cannot be used."""
    fallback = TARGETS[target].fallback
    return next((each for each in release.offered if each.target == fallback and fallback in targets), None)


def facts_of(reported: Reported | None) -> DeviceFacts | None:
    """What a device says of itself; of an agent before it did, at least the agent's version."""
    if reported is None:
        return None
    return reported.facts or DeviceFacts(agent=reported.agent)


def facts_with(facts: DeviceFacts | None, manifest: RuntimeManifest | None) -> DeviceFacts | None:
    """What a device is once it runs with a runtime: what that brings counts before the base environment's."""
    if facts is None or manifest is None:
        return facts
    house = manifest.find(facts.machine, facts.python)
    if house is None or facts.runtimes is None:
        return facts
    return replace(facts, runtimes={**facts.runtimes, **house.distributions})


def counted(found: Iterable[tuple[str, str, str]]) -> tuple[LeftOut, ...]:
    """(device, code, words) as one line for each code, the most frequent first."""
    rows = list(found)
    counts = Counter(code for _, code, _ in rows)
    return tuple(_counted(code, count, rows) for code, count in counts.most_common())


def _counted(code: str, count: int, rows: Sequence[tuple[str, str, str]]) -> LeftOut:
    mine = [(device, words) for device, its, words in rows if its == code]
    return LeftOut(code, count, mine[0][1], tuple(device for device, _ in mine[:MOST_NAMED]))


def _in_the_way(
    bundle: Bundle, release: Release, reported: Reported | None, facts: DeviceFacts | None
) -> tuple[Obstacle, ...]:
    """Nothing is in the way of what a device has already."""
    model = reported.models.get(split_release(release.name)[0]) if reported else None
    held = model is not None and model.current is not None and model.current.release == release.name
    return () if held else obstacles(bundle.needs, facts)
