"""A folder of wheels becomes a wheelhouse that devices install: checked as a whole, and made a tar, always the same.

All that is wrong is found in one round. Of what a device does not have to fetch nothing is said: a wheelhouse has every
dependency of its own, for the base environment of a device may be an older one.
"""

import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from skerry_agent.wire.blobs import BlobRef, check_size
from skerry_agent.wire.hidden_modules import before_the_agent
from skerry_agent.wire.runtimes import MAX_FILES, REQUIREMENTS, Kind, Wheelhouse, kind_issue
from skerry_agent.wire.wheel_names import normalised
from skerry_host.release.errors import ReleaseError
from skerry_host.release.wheel_place import Place, misfits, place_of
from skerry_host.release.wheel_requirements import unpinned, unresolved
from skerry_host.release.wheels import Wheel, read_wheel

MAX_SHOWN = 12
ANYWHERE = Place()


class WheelhouseError(ReleaseError):
    """A folder that is no wheelhouse for devices; `issues` has everything that was found."""

    code = "wheelhouse"

    def __init__(self, folder: Path, issues: Sequence[str], hint: str = "") -> None:
        self.issues = tuple(issues)
        more = f"; and {len(issues) - MAX_SHOWN} more" if len(issues) > MAX_SHOWN else ""
        super().__init__(f"{folder}: {'; '.join(issues[:MAX_SHOWN])}{more}", hint=hint)

    def facts(self) -> dict[str, object]:
        """With every issue."""
        return {**super().facts(), "issues": self.issues}


@dataclass(frozen=True)
class Packed:
    """A wheelhouse as a tar, and what the manifest says of it once the tar is in the store."""

    tar: bytes
    machine: str
    python: str
    wheels: tuple[Wheel, ...]

    def described(self, artifact: BlobRef) -> Wheelhouse:
        """As the manifest has it."""
        newest = max(wheel.name.glibc_minor for wheel in self.wheels)
        return Wheelhouse(
            machine=self.machine,
            python=self.python,
            artifact=artifact,
            distributions={wheel.distribution: wheel.name.version for wheel in self.wheels},
            glibc=f"2.{newest}" if newest else "",
            imports=tuple(_imports(self.wheels)),
            installed_bytes=sum(wheel.installed_bytes for wheel in self.wheels),
        )


def pack(folder: Path, kind: Kind, said: Place = ANYWHERE) -> Packed:
    """Check a folder and make its tar. Raises `WheelhouseError` with all that is wrong, `OSError`."""
    wheels, issues = _read(folder)
    if issues:
        raise WheelhouseError(folder, issues)
    place, issues = place_of(wheels, said)
    if not issues:
        issues = [*misfits(wheels, place), *unpinned(folder, wheels, place), *unresolved(wheels, place)]
    issues += _kind_issues(wheels, kind)
    if issues:
        raise WheelhouseError(folder, issues)
    tar = _tar(wheels)
    check_size(f"the wheelhouse of {folder}", len(tar))
    return Packed(tar, place.machine, place.python, tuple(wheels))


def _read(folder: Path) -> tuple[list[Wheel], list[str]]:
    if not folder.is_dir():
        return [], ["it is no folder"]
    paths = sorted(folder.glob("*.whl"))
    others = sorted(path.name for path in folder.iterdir() if path.name.endswith((".tar.gz", ".zip", ".egg")))
    issues = [f"{name} is no wheel: a device builds nothing" for name in others]
    if not paths:
        return [], [*issues, "it holds no wheel"]
    if len(paths) >= MAX_FILES:
        return [], [*issues, f"it holds {len(paths)} wheels, devices take at most {MAX_FILES - 1}"]
    read = [read_wheel(path) for path in paths]
    wheels = [each for each in read if isinstance(each, Wheel)]
    issues += [each for each in read if isinstance(each, str)] + [issue for wheel in wheels for issue in wheel.issues]
    return wheels, [*issues, *_twice(wheels)]


def _twice(wheels: Sequence[Wheel]) -> Iterator[str]:
    """Of one distribution there is one wheel: pip would choose, and another device another one."""
    by_name: dict[str, list[Wheel]] = {}
    for wheel in wheels:
        by_name.setdefault(wheel.distribution, []).append(wheel)
    for name, each in by_name.items():
        if len(each) > 1:
            files = ", ".join(wheel.name.file for wheel in each)
            yield f"{name} is in it {len(each)} times ({files}): one folder is for one machine and Python"


def _kind_issues(wheels: Sequence[Wheel], kind: Kind) -> list[str]:
    issue = kind_issue(kind, frozenset(wheel.distribution for wheel in wheels))
    found = [issue] if issue is not None else []
    if kind == "runtime" and issue is None:
        for wheel in wheels:
            modules = before_the_agent(wheel.modules)
            if modules:
                found.append(f"{wheel.name.file} brings {', '.join(modules)}, of which the agent is made")
    return found


def _imports(wheels: Sequence[Wheel]) -> list[str]:
    """The public modules of what no other wheel needs: for these a runtime is made."""
    needed = {normalised(need.name) for wheel in wheels for need in wheel.requires if need.marker is None}
    roots = [wheel for wheel in wheels if wheel.distribution not in needed] or list(wheels)
    return sorted({module for wheel in roots for module in wheel.modules if not module.startswith("_")})[:MAX_FILES]


def _tar(wheels: Sequence[Wheel]) -> bytes:
    """The wheels and their requirements, by name, without times and owners: the same wheels make the same bytes."""
    lines = (f"{each.distribution}=={each.name.version} --hash=sha256:{each.sha256}\n" for each in wheels)
    files = {
        REQUIREMENTS: "".join(sorted(lines)).encode(),
        **{each.path.name: each.path.read_bytes() for each in wheels},
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.GNU_FORMAT) as tar:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
