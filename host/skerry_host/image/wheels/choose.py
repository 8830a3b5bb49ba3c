"""Which wheels a board gets: the extras of the agent that its targets need, locked, for the systems that it may have.

Says no where there are none: 32-bit ARM, and Pythons that the agent does not run on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from skerry_agent.wire.engines import EXTRAS
from skerry_agent.wire.targets import TARGETS
from skerry_host.boards import Board
from skerry_host.image.errors import WheelError
from skerry_host.image.wheels.agent_wheel import agent_wheel
from skerry_host.image.wheels.fetch import Wanted, fetch
from skerry_host.image.wheels.lock import merged, read_lock
from skerry_host.image.wheels.wheelhouse import Wheel, Wheelhouse
from skerry_host.systems import OLDEST_PYTHON, System, dotted

IMPORTS = {"litert": "ai_edge_litert.interpreter", "onnx": "onnxruntime", "camera": "cv2", "coral": "tflite_runtime"}
"""The module of each extra that has machine code: it must import on the board. By the extra's name."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where wheels are from: kept in a folder of the home, else a folder that was given, else pip's index."""

    kept: Path
    given: Path | None = None


def extras_of(board: Board, *, camera: bool = False) -> tuple[str, ...]:
    """The extras of skerry-agent that a board's targets need, each once."""
    engines = [TARGETS[target].engine or board.runtime.engines[target][0] for target in board.targets]
    return tuple(dict.fromkeys([*(EXTRAS[engine] for engine in engines), *(["camera"] if camera else [])]))


def wheelhouse(board: Board, systems: Sequence[System], extras: tuple[str, ...], sources: Sources) -> Wheelhouse:
    """The wheels of a board for every system that it may have. Raises `WheelError`."""
    require_wheels(board, systems)
    pins = merged(read_lock(lock_file(extra).read_text("utf-8")) for extra in extras)
    wheels: dict[str, Wheel] = {}
    for python, glibc in _oldest_glibc(systems).items():
        for wheel in fetch(Wanted(board.arch, python, glibc, pins), sources.kept, sources.given):
            wheels[wheel.file] = wheel
    own = agent_wheel(extras)
    imports = ("cryptography", *(IMPORTS[extra] for extra in extras))
    return Wheelhouse(board.arch, tuple(_oldest_glibc(systems)), (own, *wheels.values()), imports)


def require_wheels(board: Board, systems: Sequence[System]) -> None:
    """Raises `WheelError` where there are no wheels for a board, or for the Python of a system."""
    if board.arch == "armv7l":
        raise WheelError(
            f"board {board.name} is 32-bit ARM (armv7): neither LiteRT, nor onnxruntime, nor numpy has wheels for it",
            hint="boards with a 64-bit processor take a 64-bit system; --config-only writes what an own build needs",
            code="no_wheels",
        )
    if not systems:
        raise WheelError(f"no operating system is known for board {board.name}", hint="choose one with --os", code="os")
    for system in systems:
        if not system.runs_the_agent:
            older = "older than the agent needs" if dotted(system.python) < OLDEST_PYTHON else "newer than the wheels"
            raise WheelError(
                f"{system.title} comes with Python {system.python}, {older}",
                hint="bring an interpreter with --python, choose another system with --os, or --config-only",
                code="python",
            )


def lock_file(extra: str) -> Path:
    """The lock of an extra: in the package, else in the checkout. Raises `WheelError`."""
    here = Path(__file__).resolve().parents[2]
    for place in (here / "locks" / f"{extra}.txt", here.parents[1] / "requirements" / "boards" / f"{extra}.txt"):
        if place.is_file():
            return place
    raise WheelError(f"there is no lock for the extra {extra}", hint="install skerry-host again", code="no_wheels")


def _oldest_glibc(systems: Iterable[System]) -> dict[str, str]:
    """By Python, the oldest glibc among the systems that have it: what runs on that runs on all."""
    found: dict[str, str] = {}
    for system in systems:
        there = found.get(system.python)
        found[system.python] = min(there, system.glibc, key=dotted) if there else system.glibc
    return found
