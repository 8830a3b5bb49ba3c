"""Disks that cannot be written: tiny, full or read-only. The old model serves; later orders work.

Mounts a tmpfs of its own, so it needs root; `refusal` says why it cannot run.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab import fault
from tests.lab.points import Bench


@dataclass(frozen=True)
class Shortage:
    """One way in which a disk takes nothing: made so before the boot, mended after it."""

    name: str
    make: Callable[[Path], None]
    mend: Callable[[Path], None]


def _remount(options: str) -> Callable[[Path], None]:
    return lambda folder: _mount("-o", f"remount,{options}", str(folder))


def _fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue


def _free(folder: Path) -> None:
    (folder / "filler").unlink()
    _remount("size=64m")(folder)


SHORTAGES = [
    Shortage("tiny", lambda _folder: None, _remount("size=64m")),
    Shortage("full", _fill, _free),
    Shortage("read_only", _remount("ro"), _remount("rw,size=64m")),
]


def refusal() -> str:
    """Why this machine cannot mount a tmpfs; empty if it can."""
    return "" if os.geteuid() == 0 else "mounting a tmpfs needs root"


def short(at: Bench, shortage: Shortage) -> list[str]:
    """Boot on a disk that takes nothing, then on the same disk, mended, with the order given anew."""
    with _tmpfs(at.folder):
        at.reset()
        shortage.make(at.folder)
        broken: list[str] = []

        def play() -> None:
            device = at.stage.boot(at.state, at.ledger, "short")
            before = device.serving
            device.go_online()
            if before is None or device.serving not in at.stage.scenario.before:
                at.ledger.note(f"broken served {before}, then {device.serving}")

        ended = fault.run(play, at.ledger)
        broken += at.ledger.lines("broken")
        if not ended.well:
            broken.append(f"the supervisor died: signal {ended.signal}, {ended.said}")
        shortage.mend(at.folder)
        at.stage.order_again()
        at.ledger.clear()
        return broken + at.recovered()


@contextmanager
def _tmpfs(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)
