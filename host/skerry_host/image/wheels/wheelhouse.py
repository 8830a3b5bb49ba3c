"""A folder of wheels as data: what each file says it is, and the requirements.txt by which pip checks all. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from skerry_host.image.errors import WheelError
from skerry_host.image.wheels.lock import canonical

_NAME = re.compile(r"([^-]+)-([^-]+)(?:-\d[^-]*)?-([^-]+)-([^-]+)-([^-]+)\.whl")


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel: `content` where it is made here, else a file at `path`. Installed it takes `unpacked` bytes."""

    file: str
    sha256: str
    unpacked: int
    path: Path | None = None
    content: bytes | None = None
    extras: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The distribution's, as indexes compare it."""
        return canonical(self._parts()[0])

    @property
    def version(self) -> str:
        """The distribution's."""
        return self._parts()[1]

    @property
    def platforms(self) -> tuple[str, ...]:
        """What it is for: `any`, or tags such as manylinux_2_17_aarch64."""
        return tuple(self._parts()[4].split("."))

    def _parts(self) -> tuple[str, ...]:
        match = _NAME.fullmatch(self.file)
        if match is None:
            raise WheelError(f"{self.file} is no wheel: its name is not NAME-VERSION-PYTHON-ABI-PLATFORM.whl")
        return match.groups()


@dataclass(frozen=True, slots=True)
class Wheelhouse:
    """All wheels of a board, for one machine and the Pythons (3.11) that its systems come with.

    `imports` are the modules that must import on the board before anything is switched to them.
    """

    machine: str
    pythons: tuple[str, ...]
    wheels: tuple[Wheel, ...]
    imports: tuple[str, ...] = ()

    def requirements(self) -> str:
        """Of pip, for `--require-hashes`: each distribution once, with the hashes of its wheels."""
        lines = ["# pip install --no-index --require-hashes --find-links wheels -r wheels/requirements.txt"]
        for (name, version), wheels in sorted(_grouped(self.wheels).items()):
            extras = f"[{','.join(wheels[0].extras)}]" if wheels[0].extras else ""
            hashes = "".join(f" \\\n    --hash=sha256:{each}" for each in sorted({wheel.sha256 for wheel in wheels}))
            lines.append(f"{name}{extras}=={version}{hashes}")
        return "\n".join(lines) + "\n"

    def distributions(self) -> dict[str, str]:
        """The version of each, by name."""
        return dict(sorted(_grouped(self.wheels)))

    def unpacked(self) -> int:
        """Bytes that an environment takes: the largest wheel of each distribution, since one Python installs one."""
        return sum(max(wheel.unpacked for wheel in wheels) for wheels in _grouped(self.wheels).values())


def _grouped(wheels: Iterable[Wheel]) -> dict[tuple[str, str], list[Wheel]]:
    found: dict[tuple[str, str], list[Wheel]] = {}
    for wheel in wheels:
        found.setdefault((wheel.name, wheel.version), []).append(wheel)
    return found
