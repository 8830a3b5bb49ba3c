"""What a wheel's file name says, and whether a wheel of that name is for a machine and a Python. Pure: opens no wheel.

The name is the specification's (binary distribution format): name, version, perhaps a build number, then the tags of
Python, ABI and platform, each perhaps several with dots between them.
"""

import re

from msgspec import Struct

_NAME = re.compile(
    r"(?P<name>[A-Za-z0-9_.]+)-(?P<version>[A-Za-z0-9_.!+]+)(-[0-9][A-Za-z0-9_.]*)?"
    r"-(?P<python>[A-Za-z0-9_.]+)-(?P<abi>[A-Za-z0-9_.]+)-(?P<platform>[A-Za-z0-9_.]+)\.whl"
)
_GLIBC = re.compile(r"manylinux_2_([0-9]+)_")
_OLD_GLIBC = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}


class WheelName(Struct, frozen=True):
    """The parts of a name; `distribution` is normalised: `ai-edge-litert`."""

    file: str
    distribution: str
    version: str
    pythons: tuple[str, ...]
    abis: tuple[str, ...]
    platforms: tuple[str, ...]

    def misfit(self, machine: str, python: str) -> str | None:
        """Why it cannot be installed on a machine (`aarch64`) by a CPython (`cp311`); None if it can."""
        if not any(each == "any" or each.endswith(f"_{machine}") for each in self.platforms):
            return f"{self.file} is for {_joined(self.platforms)}, not for {machine}"
        if not self._fits_python(int(python[3:])):
            return f"{self.file} is for {_joined(self.pythons)}, not for {python}"
        return None

    def _fits_python(self, minor: int) -> bool:
        """CPython 3.`minor`: its own tag, an older one with the stable ABI, or any Python 3."""
        if f"cp3{minor}" in self.pythons and set(self.abis) & {f"cp3{minor}", "abi3", "none"}:
            return True
        if "abi3" in self.abis:
            return any(_minor(each, "cp3") <= minor for each in self.pythons)
        return "none" in self.abis and any(each == "py3" or _minor(each, "py3") <= minor for each in self.pythons)

    @property
    def glibc_minor(self) -> int:
        """The lowest glibc 2.N that it runs with; 0 where it says nothing of that."""
        needed = [
            int(found[1]) if (found := _GLIBC.match(each)) else _OLD_GLIBC.get(each.partition("_")[0], 0)
            for each in self.platforms
        ]
        return min(needed, default=0)


def parse_wheel_name(file: str) -> WheelName | None:
    """The parts of a wheel's file name; None if it is not one."""
    found = _NAME.fullmatch(file)
    if found is None:
        return None
    tags = (tuple(found[part].split(".")) for part in ("python", "abi", "platform"))
    return WheelName(file, normalised(found["name"]), found["version"], *tags)


def normalised(name: str) -> str:
    """A distribution's name as it is compared: small letters, runs of - _ . as one hyphen."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _minor(tag: str, prefix: str) -> float:
    """Of `cp310` 10; infinite where it is another kind of tag."""
    rest = tag.removeprefix(prefix)
    return int(rest) if tag.startswith(prefix) and rest.isdigit() else float("inf")


def _joined(tags: tuple[str, ...]) -> str:
    return " or ".join(tags)
