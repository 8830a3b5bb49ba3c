"""Hardware profiles: what a board is, which targets it runs and what power it draws. Reads firmware_configs/boards.

Does not look at the machine it runs on: a board is chosen by name. Where the files are: $SKERRY_BOARDS, else the
installed package, else the source checkout.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from skerry_agent.wire import codec
from skerry_agent.wire.engines import EngineName
from skerry_agent.wire.errors import SkerryError, WireError
from skerry_agent.wire.targets import EDGETPU, TARGETS, TargetName
from skerry_host.nearest import did_you_mean

VARIABLE = "SKERRY_BOARDS"
NEWEST_EDGETPU_RUNTIME = 14
"""The runtime of the newest Edge TPU driver (libedgetpu 16.0); a driver refuses models that need a newer one."""

Arch = Literal["aarch64", "armv7l", "x86_64"]
Accelerator = Literal["edgetpu-usb", "edgetpu-pcie"]
BoardName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{1,40}\Z")]
Positive = Annotated[float, Meta(gt=0)]


class BoardError(SkerryError):
    """A board is unknown, its file is wrong, or it cannot do what is asked."""

    code = "board"
    exit_code = 2


class Power(Struct, frozen=True, forbid_unknown_fields=True):
    """Coefficients of the power model: watts = idle_w + watts_per_core * busy cores (+ accelerator_w while it works).

    `uncertainty` is relative (0.3 = 30 %); `source` says who measured it, or that it is an estimate and from what.
    """

    idle_w: Annotated[float, Meta(ge=0)]
    watts_per_core: Positive
    uncertainty: Annotated[float, Meta(gt=0, le=1)]
    source: Annotated[str, Meta(min_length=10)]
    accelerator_w: Positive | None = None


class Peak(Struct, frozen=True, forbid_unknown_fields=True):
    """Peak throughput: 10^9 operations a second of all cores (a multiply-add is two), 10^9 bytes a second of RAM.

    `link_gb_s` is the link to the accelerator. `source` says where the figures come from; estimates begin with
    "Estimate".
    """

    int8_gops: Positive
    float_gops: Positive
    memory_gb_s: Positive
    source: Annotated[str, Meta(min_length=10)]
    accelerator_gops: Positive | None = None
    link_gb_s: Positive | None = None


class Runtime(Struct, frozen=True, forbid_unknown_fields=True):
    """How models run: the engines for each target, the preferred first, and the threads of one inference.

    `edgetpu_runtime` is the runtime version of the oldest Edge TPU driver that boards of this kind have: it refuses
    models that were compiled for a newer one. None is the newest there is.
    """

    engines: dict[TargetName, tuple[EngineName, ...]]
    threads: Annotated[int, Meta(ge=1, le=256)]
    edgetpu_runtime: Annotated[int, Meta(ge=10, le=99)] | None = None


class Board(Struct, frozen=True, forbid_unknown_fields=True):
    """One hardware profile: `targets` in order of preference, `ram_mb` in MiB, `thermal_limit_c` where it throttles."""

    schema: Literal[1]
    name: BoardName
    title: str
    arch: Arch
    cores: Annotated[int, Meta(ge=1, le=256)]
    ram_mb: Annotated[int, Meta(ge=64)]
    targets: Annotated[tuple[TargetName, ...], Meta(min_length=1)]
    thermal_limit_c: Annotated[float, Meta(gt=0, le=150)]
    runtime: Runtime
    power: Power
    peak: Peak | None = None
    accelerator: Accelerator | None = None
    notes: str = ""

    def require(self, target: str) -> TargetName:
        """`target`, if this board runs it; else raises `BoardError` that says what it runs."""
        for known in self.targets:
            if known == target:
                return known
        hint = f"it runs {', '.join(self.targets)}{did_you_mean(target, self.targets)}"
        raise BoardError(f"board {self.name} cannot run target {target}", hint=hint, code="target")

    def edgetpu_runtime(self) -> int:
        """The runtime version of its Edge TPU driver; raises `BoardError` when it has no Edge TPU."""
        self.require(EDGETPU.name)
        return self.runtime.edgetpu_runtime or NEWEST_EDGETPU_RUNTIME


def boards_folder() -> Path:
    """Where board files are read from; raises `BoardError` when there is no such folder."""
    here = Path(__file__).resolve().parent
    named = os.environ.get(VARIABLE)
    places = [Path(named)] if named else [here / "firmware_configs/boards", here.parents[1] / "firmware_configs/boards"]
    for place in places:
        if place.is_dir():
            return place
    raise BoardError(f"no folder of board files at {places[-1]}", hint=f"set {VARIABLE} to one")


def list_boards() -> list[str]:
    """The names of all boards, sorted."""
    return sorted(path.stem for path in boards_folder().glob("*.toml"))


def load_board(name: str) -> Board:
    """A board by name; raises `BoardError` that names those there are, or every issue of its file."""
    known = list_boards()
    if name not in known:
        hint = f"known boards: {', '.join(known)}{did_you_mean(name, known)}"
        raise BoardError(f"there is no board {name!r}", hint=hint, code="unknown_board")
    path = boards_folder() / f"{name}.toml"
    try:
        table = codec.parse_toml(path.read_bytes())
    except (OSError, WireError) as error:
        raise BoardError(f"cannot read {path}: {error}") from None
    try:
        board = codec.convert(table, Board)
    except WireError as error:
        raise BoardError(f"{path} is invalid: {'; '.join(error.issues)}") from None
    return _checked(board, path)


def _checked(board: Board, path: Path) -> Board:
    """What the types cannot say: names agree, every target has an engine, threads fit the cores."""
    issues = [f"target {target} has no engine" for target in board.targets if not board.runtime.engines.get(target)]
    if board.name != path.stem:
        issues.append(f"name is {board.name!r}, the file is {path.name}")
    if board.runtime.threads > board.cores:
        issues.append(f"runtime.threads is {board.runtime.threads}, but the board has {board.cores} cores")
    if board.accelerator is None:
        issues += [f"target {target} needs an accelerator" for target in board.targets if TARGETS[target].exclusive]
    if board.runtime.edgetpu_runtime is not None and EDGETPU.name not in board.targets:
        issues.append("runtime.edgetpu_runtime needs target edgetpu")
    if issues:
        raise BoardError(f"{path} is invalid: {'; '.join(issues)}")
    return board
