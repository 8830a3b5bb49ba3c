"""For which machine and Python a folder of wheels is, by their names and by the code in them. Pure: opens nothing."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from skerry_host.release.wheels import Wheel

_PLATFORM = re.compile(r"(?:manylinux[0-9_]*|musllinux[0-9_]*|linux)_(.+)")


@dataclass(frozen=True)
class Place:
    """For whom it is said to be, where its wheels do not tell: a machine, and a Python's tag."""

    machine: str = ""
    python: str = ""


def place_of(wheels: Sequence[Wheel], said: Place) -> tuple[Place, list[str]]:
    """The machine and Python, from what the wheels' names say; else from what was said."""
    machines = {machine for wheel in wheels for machine in _machines_of(wheel)}
    pythons = {tag for wheel in wheels for tag in _pythons_of(wheel)}
    issues = []
    for what, option, found, told in (
        ("machine", "--machine aarch64", machines, said.machine),
        ("Python", "--python cp311", pythons, said.python),
    ):
        if len(found) > 1:
            issues.append(f"its wheels are for several: {what} {' and '.join(sorted(found))}; make a folder for each")
        elif not found and not told:
            issues.append(f"its wheels do not tell the {what}: say it by `{option}`")
        elif found and told and told not in found:
            issues.append(f"its wheels are for {what} {_one(found, told)}, not {told}")
    place = Place(
        *((found or {told}).copy().pop() for found, told in ((machines, said.machine), (pythons, said.python)))
    )
    if not issues and not re.fullmatch(r"cp3[0-9]{1,2}", place.python):
        issues.append(f"{place.python!r} is no tag of a CPython, as cp311 is one")
    return place, issues


def _machines_of(wheel: Wheel) -> set[str]:
    found = (_PLATFORM.fullmatch(platform) for platform in wheel.name.platforms)
    return {match[1] for match in found if match is not None}


def _pythons_of(wheel: Wheel) -> set[str]:
    """Of a wheel for just one CPython."""
    bound = {abi for abi in wheel.name.abis if re.fullmatch(r"cp3[0-9]{1,2}", abi)}
    return bound & set(wheel.name.pythons)


def misfits(wheels: Sequence[Wheel], place: Place) -> Iterator[str]:
    """Which wheels are not for that place, by their names, their metadata and the code in them."""
    version = f"3.{place.python[3:]}"
    for wheel in wheels:
        misfit = wheel.name.misfit(place.machine, place.python)
        if misfit is not None:
            yield misfit
        elif any(platform.startswith("musllinux") for platform in wheel.name.platforms):
            yield f"{wheel.name.file} is for musl, devices have glibc"
        foreign = sorted(wheel.machines - {place.machine})
        if foreign and misfit is None:
            yield f"{wheel.name.file} holds code for {', '.join(foreign)}, whatever its name says"
        try:
            if wheel.python and not SpecifierSet(wheel.python).contains(version, prereleases=True):
                yield f"{wheel.name.file} needs Python {wheel.python}, and the wheelhouse is for {version}"
        except InvalidSpecifier:
            yield f"{wheel.name.file}: {wheel.python!r} is no version of Python"


def _one(found: set[str], told: str) -> str:
    return min(found, default=told)
