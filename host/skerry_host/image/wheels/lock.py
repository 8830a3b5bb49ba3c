"""Reads requirements/boards/*.txt: each package that a board may be given, its version and its files' hashes. Pure.

Evaluates no markers: these locks hold for every machine and Python that they are for (a test holds that).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from skerry_host.image.errors import WheelError

_PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a lock, with the sha256 of every file of that version."""

    name: str
    version: str
    sha256: frozenset[str]


def read_lock(text: str) -> dict[str, Pin]:
    """The packages of one lock by name. Raises `WheelError` for a line that is no part of one."""
    found: dict[str, Pin] = {}
    for entry in text.replace("\\\n", " ").splitlines():
        line = entry.strip()
        if not line or line.startswith("#"):
            continue
        pin, hashes = _PIN.match(line), _HASH.findall(line)
        if pin is None or not hashes:
            raise WheelError(f"a lock of this installation has a line without version or hash: {line[:60]!r}")
        name = canonical(pin[1])
        found[name] = Pin(name, pin[2], frozenset(hashes))
    return found


def merged(locks: Iterable[dict[str, Pin]]) -> dict[str, Pin]:
    """Several locks as one. Raises `WheelError` where they do not agree on a version."""
    found: dict[str, Pin] = {}
    for lock in locks:
        for name, pin in lock.items():
            there = found.setdefault(name, pin)
            if there.version != pin.version:
                raise WheelError(
                    f"{name} is locked as {there.version} and as {pin.version}: these cannot be in one environment",
                    hint="choose targets or extras that go together",
                )
    return found


def canonical(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
