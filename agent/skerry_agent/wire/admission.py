"""What something needs of a device, held against what the device is: one rule for the host and for the device. Pure.

The host asks before it orders, and counts who is left out; the device asks before it fetches. What is not known of a
device (an older agent says nothing of itself) is no obstacle: `unknown` names it, so that it is said.

Versions are compared by their leading numbers (`2.10` is above `2.9`); one that has none is not known.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Annotated, Final

from msgspec import Meta, Struct

from skerry_agent.wire.names import Count

Word = Annotated[str, Meta(max_length=200)]
Words = Annotated[dict[Word, Word], Meta(max_length=64)]

MACHINE, PYTHON, GLIBC = "wrong_machine", "wrong_python", "glibc_too_old"
AGENT = "agent_too_old"
NO_RUNTIME, RUNTIME = "no_runtime", "runtime_too_old"
ACCELERATOR = "accelerator_too_old"
RAM, DISK = "not_enough_ram", "not_enough_disk"

TUPLE: Final = ("library", "runtime", "driver", "firmware", "kernel")
"""The fields of an `Accelerator` that have to fit together."""

PASSING: Final = frozenset({ACCELERATOR})
"""Obstacles to the accelerator alone: where the release has a bundle for the cpu, that serves until they are gone."""


class Accelerator(Struct, frozen=True, omit_defaults=True):
    """What has to fit together for an accelerator to work; a change of any may be why it does not. Empty: not known.

    `library` is what opens it (`libedgetpu 16.0`), `driver` the kernel's module, `runtime` what the library says of
    itself: it refuses models that were compiled for a higher one. `problem` is why it cannot be used now, as a code.
    """

    library: Word = ""
    runtime: Annotated[int, Meta(ge=0, le=999)] | None = None
    driver: Word = ""
    firmware: Word = ""
    kernel: Word = ""
    problem: Word = ""


class DeviceFacts(Struct, frozen=True, omit_defaults=True):
    """What a device is, as far as it knows: empty or None is not known.

    `python` is its tag (cp311). `runtimes` are the inference runtimes that are installed, name and version of each
    distribution; `engines` which of them runs each target. `ram_bytes` is what all processes of the agent may have.
    """

    machine: Word = ""
    python: Word = ""
    glibc: Word = ""
    agent: Word = ""
    runtimes: Words | None = None
    engines: Words = {}
    accelerator: Accelerator | None = None
    ram_bytes: Count | None = None
    disk_free_bytes: Count | None = None


class Needs(Struct, frozen=True, omit_defaults=True):
    """What a bundle, or anything else that is installed, needs; empty or None is nothing.

    `runtimes` are the distributions that run it, each with the least version: one of them suffices, and that is the
    one that the device runs `target` with. `pythons` are tags. `ram_bytes` is what one process was seen to take.
    """

    target: Word = ""
    machines: tuple[Word, ...] = ()
    pythons: tuple[Word, ...] = ()
    glibc: Word = ""
    agent: Word = ""
    runtimes: Words = {}
    edgetpu_runtime: Annotated[int, Meta(ge=0)] | None = None
    ram_bytes: Count | None = None
    disk_bytes: Count | None = None


class Obstacle(Struct, frozen=True):
    """One thing that is in the way: a stable code, and what is needed and what there is, in words."""

    code: str
    detail: str


def obstacles(needs: Needs | None, facts: DeviceFacts | None) -> tuple[Obstacle, ...]:
    """Everything that is known to be in the way, the first that has to be mended first; empty where nothing is."""
    if needs is None or facts is None:
        return ()
    return tuple(_obstacles(needs, facts))


def lasting(found: tuple[Obstacle, ...]) -> tuple[Obstacle, ...]:
    """Those for which the cpu's bundle cannot stand in meanwhile."""
    return tuple(each for each in found if each.code not in PASSING)


def unknown(needs: Needs | None, facts: DeviceFacts | None) -> tuple[str, ...]:
    """What is needed and not known of the device, in words; all of it where the device has never said anything."""
    if needs is None:
        return ()
    have = facts or DeviceFacts()
    asked = (
        ("machine", needs.machines, have.machine),
        ("Python", needs.pythons, have.python),
        ("glibc", needs.glibc, have.glibc),
        ("agent", needs.agent, have.agent),
        ("runtime", needs.runtimes, have.runtimes is not None),
        ("Edge TPU runtime", needs.edgetpu_runtime, _edgetpu_runtime(have) is not None),
        ("RAM", needs.ram_bytes, have.ram_bytes is not None),
        ("disk", needs.disk_bytes, have.disk_free_bytes is not None),
    )
    return tuple(name for name, wanted, known in asked if wanted and not known)


def changes(before: Accelerator, now: Accelerator) -> str:
    """What is another one, as `driver 15 -> 16, kernel 6.1 -> 6.6`; empty where nothing is, or it is not known."""
    parts = ((name, getattr(before, name) or "", getattr(now, name) or "") for name in TUPLE)
    return ", ".join(f"{name} {was} -> {here}" for name, was, here in parts if was and here and was != here)


def below(version: str, least: str) -> bool:
    """Whether a version is known to be below another."""
    have, need = numbers(version), numbers(least)
    if not have or not need:
        return False
    pairs = zip_longest(have, need, fillvalue=0)
    return next((mine < theirs for mine, theirs in pairs if mine != theirs), False)


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (2, 10) of `2.10rc1`; none where it does not begin with one."""
    found = re.match(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,7}", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _obstacles(needs: Needs, facts: DeviceFacts) -> Iterator[Obstacle]:
    for code, name, wanted, have in (
        (MACHINE, "machine", needs.machines, facts.machine),
        (PYTHON, "Python", needs.pythons, facts.python),
    ):
        if wanted and have and have not in wanted:
            yield Obstacle(code, f"it is for {name} {' or '.join(wanted)}, the device has {have}")
    for code, name, least, have in (
        (AGENT, "skerry-agent", needs.agent, facts.agent),
        (GLIBC, "glibc", needs.glibc, facts.glibc),
    ):
        if below(have, least):
            yield Obstacle(code, f"it needs {name} {least} or newer, the device has {have}")
    yield from _runtime(needs, facts)
    yield from _accelerator(needs, facts)
    for code, name, most, free in (
        (RAM, "RAM", needs.ram_bytes, facts.ram_bytes),
        (DISK, "free disk", needs.disk_bytes, facts.disk_free_bytes),
    ):
        if most is not None and free is not None and free < most:
            yield Obstacle(code, f"it needs {_mb(most)} of {name}, the device has {_mb(free)}")


def _runtime(needs: Needs, facts: DeviceFacts) -> Iterator[Obstacle]:
    """Of the runtimes that can run it, the one that this device would use, or else any that is installed."""
    if not needs.runtimes or facts.runtimes is None:
        return
    used = facts.engines.get(needs.target)
    there = {name: version for name, version in facts.runtimes.items() if used in {None, name}}
    able = {name: there[name] for name in needs.runtimes if name in there}
    if not able:
        yield Obstacle(NO_RUNTIME, f"it needs {_listed(needs.runtimes)}, the device has {_listed(there) or 'none'}")
    elif all(below(version, needs.runtimes[name]) for name, version in able.items()):
        wanted = {name: needs.runtimes[name] for name in able}
        yield Obstacle(RUNTIME, f"it needs {_listed(wanted)} or newer, the device has {_listed(able)}")


def _accelerator(needs: Needs, facts: DeviceFacts) -> Iterator[Obstacle]:
    need, have = needs.edgetpu_runtime, _edgetpu_runtime(facts)
    if need is not None and have is not None and have < need:
        yield Obstacle(ACCELERATOR, f"it is compiled for Edge TPU runtime {need}, the device's library has {have}")


def _edgetpu_runtime(facts: DeviceFacts) -> int | None:
    return facts.accelerator.runtime if facts.accelerator is not None else None


def _listed(versions: Mapping[str, str]) -> str:
    return " or ".join(f"{name} {version}".strip() for name, version in versions.items())


def _mb(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"
