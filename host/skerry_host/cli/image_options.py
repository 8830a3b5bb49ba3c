"""Options of `skerry device provision` and `claim` for image folders: what a board is to be given, fetched beforehand.

Whatever needs a network or may fail comes before the registry is touched.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from skerry_host.boards import Board
from skerry_host.home import Home
from skerry_host.image import factory
from skerry_host.image.boot import BootTarget, boot_target
from skerry_host.image.coral.choice import CoralFiles, choose, with_interpreter, without_accelerator
from skerry_host.image.request import ImageFile, Ordered
from skerry_host.image.wheels.choose import Sources, extras_of, require_wheels, wheelhouse
from skerry_host.plane import provision as provisioning
from skerry_host.plane.provision import Place
from skerry_host.release.store import Store
from skerry_host.systems import chosen_systems

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from skerry_host.plane.registry.database import Registry

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--config-only", is_flag=True, help="No image folder: only agent.toml and what it names."),
    click.option("--os", "systems", multiple=True, metavar="NAME",
                 help="The boards' operating system; repeatable [those that are usual on them]."),
    click.option("--factory", "factories", multiple=True, metavar="MODEL@VERSION",
                 help="A release that the board serves before it has heard of a host; one for each model."),
    click.option("--camera", is_flag=True, help="With what reads cameras (OpenCV)."),
    click.option("--wheels", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="FOLDER",
                 help="Take wheels from a folder, on a host without a network."),
    click.option("--python", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="ARCHIVE",
                 help="An interpreter for systems whose own is too old: a tar of a standalone CPython."),
    click.option("--libedgetpu", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
                 help="The Edge TPU's driver for the board: a .deb of libedgetpu1, or the library itself."),
    click.option("--cpu-only", is_flag=True, help="Leave the board's accelerator unused."),
    click.option("--boot", type=click.Path(path_type=Path, exists=True), metavar="FOLDER|IMAGE",
                 help="Put it into a boot partition too: a folder, or an image file of a card."),
)  # fmt: skip


_OF_IMAGES = ("systems", "factories", "camera", "wheels", "python", "libedgetpu")


def hardware_of(board: Board, given: dict[str, Any]) -> Board:
    """A board as it is to be used."""
    return without_accelerator(board) if given["cpu_only"] else board


def image_options(function: Function) -> Function:
    """Add them to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class ImageOrder:
    """What was asked for. Not `complete`: the configuration only; `out`: a folder was named for it."""

    complete: bool
    out: bool
    systems: tuple[str, ...] = ()
    factories: tuple[str, ...] = ()
    camera: bool = False
    wheels: Path | None = None
    boot: Path | None = None
    coral: CoralFiles = field(default_factory=CoralFiles)

    @classmethod
    def of(cls, given: dict[str, Any], *, out: bool) -> "ImageOrder":
        """Out of a command's options; raises `click.UsageError` where they contradict each other."""
        asked = [name for name in (*_OF_IMAGES, "boot") if given[name]]
        complete = (out or given["boot"] is not None) and not given["config_only"]
        if asked and not complete:
            option = {"systems": "os", "factories": "factory"}.get(asked[0], asked[0])
            why = "not with --config-only" if given["config_only"] else "give --out too"
            raise click.UsageError(f"--{option} is of an image folder: {why}", click.get_current_context())
        coral = CoralFiles(given["python"], given["libedgetpu"], given["cpu_only"])
        systems, factories, camera, wheels, boot = (given[name] for name in (*_OF_IMAGES[:4], "boot"))
        return cls(complete, out, systems, factories, camera, wheels, boot, coral)


class _Undone(Exception):  # noqa: N818 - no error: it ends a transaction that was a rehearsal
    pass


@contextmanager
def rehearsal(opened: "Registry") -> Iterator["Session"]:
    """A session in which all is tried and nothing is kept: mistakes are told before anything is fetched."""
    with suppress(_Undone), opened.write() as session:
        yield session
        raise _Undone


class Images:
    """The folders of a command, and the boot partition that one of them goes into."""

    def __init__(self, ordered: Mapping[str, Ordered | None], boot: BootTarget | None, *, whole: bool = True) -> None:
        """Not `whole`: only the boot partition gets all of it, the folder what says who the device is."""
        self._ordered, self._boot, self._whole = ordered, boot, whole
        self.started_by = ""

    def place(self, folder: Path, board: Board, device: str | None = None) -> Place:
        """A folder for boards of a kind, with what was prepared for it."""
        ordered = self._ordered[board.name]
        used = ordered.coral.board if ordered is not None and ordered.coral is not None else board
        return Place(folder, used, device, ordered)

    @property
    def uncertain(self) -> list[str]:
        """Of boards with an Edge TPU, of which nobody has reported yet that this works there."""
        corals = [ordered.coral for ordered in self._ordered.values() if ordered is not None]
        return [f"not known to use the Edge TPU: {line}" for coral in corals if coral for line in coral.uncertain]

    def write(self, place: Place, files: list[ImageFile]) -> None:
        """Write a folder, and try the boot partition. Raises `FolderError`, `BootError`: then neither is written."""
        if self._boot is not None:
            self.started_by = self._boot.put(files)
        provisioning.write_files(place, files if self._whole else provisioning.identity_of(files))

    def keep(self) -> None:
        """Keep the boot partition, once the registry has what is in it. Raises `BootError`."""
        if self._boot is not None:
            self._boot.keep()


@contextmanager
def prepared(home: Home, order: ImageOrder, boards: Sequence[Board]) -> Iterator[Images]:
    """What the folders are to hold: wheels are there, factory releases and the boot partition's copy while this lasts.

    Raises `ImageError`, `SystemsError`, `ReleaseError`, `StoreError`.
    """
    if not order.complete:
        yield Images(dict.fromkeys(board.name for board in boards), None)
        return
    if order.boot is not None and len(boards) > 1:
        why = f"--boot is for one kind of boards, these are {', '.join(board.name for board in boards)}"
        raise click.UsageError(why, click.get_current_context())
    for board in boards:
        systems, _ = with_interpreter(board, chosen_systems(board.name, board.arch, order.systems), order.coral)
        require_wheels(board, systems)
        choose(board, systems, order.coral)
    with tempfile.TemporaryDirectory(prefix="skerry-image-") as scratch, _boot(order) as boot:
        ordered = {board.name: _ordered(home, order, board, Path(scratch) / board.name) for board in boards}
        yield Images(ordered, boot, whole=order.out)


@contextmanager
def _boot(order: ImageOrder) -> Iterator[BootTarget | None]:
    if order.boot is None:
        yield None
        return
    with boot_target(order.boot) as target:
        yield target


def _ordered(home: Home, order: ImageOrder, board: Board, scratch: Path) -> Ordered:
    chosen = chosen_systems(board.name, board.arch, order.systems)
    systems, interpreter = with_interpreter(board, chosen, order.coral)
    coral = choose(board, systems, order.coral)
    extras = extras_of(coral.board if coral is not None else board, camera=order.camera)
    if coral is not None:  # the accelerator runs on the classic Interpreter of that runtime
        extras = tuple(dict.fromkeys(coral.runtime.extra if extra == "litert" else extra for extra in extras))
    factories = factory.exported(Store(home.store), order.factories, board, scratch)
    sources = Sources(home.wheels, order.wheels)
    return Ordered(systems, wheelhouse(board, systems, extras, sources), factories, coral, interpreter)
