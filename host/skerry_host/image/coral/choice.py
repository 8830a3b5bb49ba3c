"""Decides what a board with an Edge TPU gets, and refuses what would end on the CPU, unless that is what is wanted.

The runtime is the one of which most is known with the driver that was given: tflite-runtime's classic Interpreter,
which takes a delegate, wherever it has a wheel; else LiteRT's classic Interpreter. Reads the files that were given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from skerry_agent.wire.engines import EngineName
from skerry_agent.wire.targets import CPU, EDGETPU, ONNX, TARGETS, TargetName
from skerry_host.boards import Board
from skerry_host.coral_support import BUILT, NONE, UNKNOWN, WORKS, Combination, Row, known
from skerry_host.image.coral.driver import DriverFile, read_driver
from skerry_host.image.coral.interpreter import Interpreter, read_interpreter
from skerry_host.image.errors import ImageError
from skerry_host.systems import System, dotted


@dataclass(frozen=True, slots=True)
class RuntimeChoice:
    """A runtime that an image can bring: the extra of the agent, its distribution, and what its wheels need."""

    extra: str
    name: str
    version: str
    pythons: tuple[str, ...]
    glibc: str


RUNTIMES = (
    RuntimeChoice("coral", "tflite-runtime", "2.14.0", ("3.11",), "2.34"),
    RuntimeChoice("litert", "ai-edge-litert", "2.3.0", ("3.11", "3.12", "3.13"), "2.27"),
)
"""In order of preference; a test holds their versions against the locks, and glibc is that of the aarch64 wheels."""


@dataclass(frozen=True, slots=True)
class CoralFiles:
    """What was given beside the rest."""

    python: Path | None = None
    libedgetpu: Path | None = None
    cpu_only: bool = False


@dataclass(frozen=True, slots=True)
class Coral:
    """What an image brings for a board with an Edge TPU: `rows` say of each system what is known of it."""

    board: Board
    systems: tuple[System, ...]
    runtime: RuntimeChoice
    rows: tuple[Row, ...] = ()
    interpreter: Interpreter | None = None
    driver: DriverFile | None = None

    @property
    def uncertain(self) -> list[str]:
        """What is said where nobody has reported yet that it works."""
        pairs = zip(self.systems, self.rows, strict=False)
        return [f"{system.title}: {row.why}; take {row.take}" for system, row in pairs if row.verdict == UNKNOWN]


def without_accelerator(board: Board) -> Board:
    """A board that is to be used without its accelerator. Raises `ImageError` where it has no other target."""
    targets = tuple(target for target in board.targets if not TARGETS[target].exclusive)
    if not targets:
        raise ImageError(f"board {board.name} runs nothing but its accelerator", code="cpu_only")
    return replace(board, targets=targets)


def with_interpreter(
    board: Board, systems: Sequence[System], files: CoralFiles
) -> tuple[tuple[System, ...], Interpreter | None]:
    """The systems as they are with the Python that was given. Raises `ImageError`."""
    if files.python is None:
        return tuple(systems), None
    interpreter = read_interpreter(files.python, board.arch)
    for system in systems:
        _require_glibc(f"the Python of {files.python.name}", interpreter.glibc, system)
    return tuple(replace(system, python=interpreter.python) for system in systems), interpreter


def choose(board: Board, systems: Sequence[System], files: CoralFiles) -> Coral | None:
    """What a board gets; None where it has no Edge TPU, or it is not to be used. Raises `ImageError` in one line."""
    if EDGETPU.name not in board.targets:
        if files.libedgetpu is not None:
            raise ImageError(f"board {board.name} uses no Edge TPU", hint="leave out --libedgetpu", code="libedgetpu")
        return None
    driver = read_driver(files.libedgetpu, board.arch) if files.libedgetpu is not None else None
    for system in systems:
        if driver is not None:
            _require_glibc(driver.title, driver.glibc, system)
    fitting = [each for each in RUNTIMES if all(_has_wheel(each, system) for system in systems)] or [RUNTIMES[-1]]
    judged = [(runtime, tuple(_row(board, system, runtime, driver) for system in systems)) for runtime in fitting]
    runtime, rows = min(judged, key=lambda pair: _preference(pair[1]))
    for system, row in zip(systems, rows, strict=True):
        if _rank(row) > _rank(UNKNOWN_ROW):
            raise _refused(board, system, row, driver)
    return Coral(_on_engine(board, runtime), tuple(systems), runtime, rows, driver=driver)


UNKNOWN_ROW = Row(UNKNOWN, "nothing is known", "no row of the table")


def _rank(row: Row) -> int:
    """The better, the lower."""
    return {WORKS: 0, UNKNOWN: 1}.get(row.verdict, 2)


def _preference(rows: Sequence[Row]) -> tuple[int, bool]:
    """The worst counts; of what nobody has reported, a runtime of which something is known with just this build."""
    worst = max(rows, key=_rank)
    return _rank(worst), worst.driver in {"", BUILT}


def _row(board: Board, system: System, runtime: RuntimeChoice, driver: DriverFile | None) -> Row:
    kind = driver.kind if driver is not None else NONE
    return known(Combination(board.name, system.name, system.python, runtime.name, runtime.version, kind))


def _has_wheel(runtime: RuntimeChoice, system: System) -> bool:
    return system.python in runtime.pythons and dotted(system.glibc) >= dotted(runtime.glibc)


def _on_engine(board: Board, runtime: RuntimeChoice) -> Board:
    """The board with what is in the same environment: tflite-runtime needs numpy 1, and onnxruntime's lock numpy 2."""
    if runtime.extra == "litert":
        return board
    engines: dict[TargetName, tuple[EngineName, ...]] = {**board.runtime.engines, CPU.name: ("tflite_runtime",)}
    targets = tuple(target for target in board.targets if target != ONNX.name)
    return replace(board, targets=targets, runtime=replace(board.runtime, engines=engines))


def _require_glibc(what: str, needed: str, system: System) -> None:
    if needed and dotted(needed) > dotted(system.glibc):
        raise ImageError(
            f"{what} needs glibc {needed}, {system.title} has {system.glibc}",
            hint="take one that was built for an older system",
            code="glibc",
        )


def _refused(board: Board, system: System, row: Row, driver: DriverFile | None) -> ImageError:
    """One line: what would happen, why, and which package to take."""
    beside = f" with {driver.title}" if driver is not None else ""
    ends = {"crashes": "would crash on the Edge TPU and end on the CPU", "does not start": "would not start"}
    what = ends.get(row.verdict, "would end on the CPU")
    take = f"take {row.take}" if row.take else "take another driver"
    hint = f"{take}; or --cpu-only, if the Edge TPU is not to be used (docs/coral.md)"
    return ImageError(f"board {board.name} on {system.title}{beside} {what}: {row.why}", hint=hint, code="no_edgetpu")
