"""Whether the wheels of a folder belong together: each is pinned by its hash, and all that they need is there.

By the markers of another machine and Python, not of this one. Installs and resolves nothing.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement

from skerry_agent.wire.runtimes import REQUIREMENTS
from skerry_agent.wire.wheel_names import normalised
from skerry_host.release.wheel_place import Place
from skerry_host.release.wheels import Wheel

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def unpinned(folder: Path, wheels: Sequence[Wheel], place: Place) -> Iterator[str]:
    """Every wheel has its hash in requirements.txt, and all that stands there for this place is in the folder."""
    try:
        text = (folder / REQUIREMENTS).read_text("utf-8")
    except FileNotFoundError:
        yield f"it has no {REQUIREMENTS}, which pins the hash of each wheel (`pip hash WHEEL` prints it)"
        return
    except UnicodeDecodeError:
        yield f"its {REQUIREMENTS} is no text in UTF-8"
        return
    pinned, bad = _pins(text, place)
    yield from bad
    by_name = {wheel.distribution: wheel for wheel in wheels}
    for name in sorted(pinned.keys() - by_name.keys()):
        yield f"its {REQUIREMENTS} names {name}, of which there is no wheel"
    for name, wheel in by_name.items():
        requirement, hashes = pinned.get(name, (None, set()))
        if requirement is None:
            yield f"its {REQUIREMENTS} does not name {wheel.name.file}"
        elif wheel.sha256 not in hashes:
            yield f"{wheel.name.file} does not have a hash that {REQUIREMENTS} pins"
        elif not requirement.specifier.contains(wheel.name.version, prereleases=True):
            yield f"{wheel.name.file} is not the version that {REQUIREMENTS} pins: {requirement.specifier}"


_Pins = dict[str, tuple[Requirement, set[str]]]


def _pins(text: str, place: Place) -> tuple[_Pins, list[str]]:
    """By distribution what is pinned for a place, with its hashes; and the lines that say nothing."""
    pinned: _Pins = {}
    bad = []
    for line in _logical_lines(text):
        try:
            requirement = Requirement(line.partition(" --hash")[0].strip().rstrip("\\").strip())
        except InvalidRequirement:
            bad.append(f"its {REQUIREMENTS} has a line that is none: {line[:60]!r}")
            continue
        if requirement.marker is None or requirement.marker.evaluate(_environment(place)):
            pinned[normalised(requirement.name)] = requirement, set(_HASH.findall(line))
    return pinned, bad


def _logical_lines(text: str) -> list[str]:
    """Lines with those that go on by a backslash, without comments."""
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def _environment(place: Place, extra: str = "") -> dict[str, str]:
    """What markers are evaluated for."""
    version = f"3.{place.python[3:]}"
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{version}.0",
        "os_name": "posix",
        "platform_machine": place.machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{version}.0",
        "python_version": version,
        "sys_platform": "linux",
        "extra": extra,
    }


def _needs(wheel: Wheel, place: Place, extras: Iterable[str] = ()) -> list[Requirement]:
    """What a wheel needs on a machine and Python, with some of its extras."""
    environments = [_environment(place, extra) for extra in ("", *extras)]
    return [each for each in wheel.requires if each.marker is None or _holds(each.marker, environments)]


def _holds(marker: Marker, environments: Iterable[dict[str, str]]) -> bool:
    return any(marker.evaluate(environment) for environment in environments)


def unresolved(wheels: Sequence[Wheel], place: Place) -> Iterator[str]:
    """Everything that a wheel needs is there in a fitting version, also what an extra of it needs."""
    by_name = {wheel.distribution: wheel for wheel in wheels}
    waiting = [(wheel, need) for wheel in wheels for need in _needs(wheel, place)]
    asked = {(wheel.distribution, str(need)) for wheel, need in waiting}
    while waiting:
        wheel, need = waiting.pop()
        name = normalised(need.name)
        found = by_name.get(name)
        if found is None:
            yield f"{wheel.name.file} needs {need.name}{need.specifier}, which is not in it"
            continue
        if not need.specifier.contains(found.name.version, prereleases=True):
            yield f"{wheel.name.file} needs {need.name}{need.specifier}, and it holds {found.name.version}"
        for more in _needs(found, place, need.extras) if need.extras else ():
            if (found.distribution, str(more)) not in asked:
                asked.add((found.distribution, str(more)))
                waiting.append((found, more))
