"""The part `factory/`: releases that the board serves before it has ever heard of a host, a folder for each model."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from skerry_host.boards import Board
from skerry_host.image.errors import ImageError
from skerry_host.image.request import Factory, ImageFile, ImageRequest
from skerry_host.release.export import export
from skerry_host.release.store import Store

FOLDER = "factory"


def exported(store: Store, names: Sequence[str], board: Board, scratch: Path) -> tuple[Factory, ...]:
    """Export releases for a board into `scratch`. Raises `ImageError`, `ReleaseError`, `StoreError`, `OSError`."""
    made: dict[str, Factory] = {}
    for name in names:
        release = store.release(name)
        if release.model in made:
            raise ImageError(f"{made[release.model].release} and {name} are of one model", code="factory")
        has = {bundle.target for bundle in release.offered}
        target = next((target for target in board.targets if target in has), None)
        if target is None:
            raise ImageError(
                f"{name} has no bundle for board {board.name}",
                hint=f"it is for {', '.join(sorted(has))}; the board runs {', '.join(board.targets)}",
                code="factory",
            )
        folder = scratch / release.model
        export(store, name, target, folder)
        made[release.model] = Factory(name, release.model, folder)
    return tuple(made.values())


def files(request: ImageRequest) -> Iterator[ImageFile]:
    """The files of each export."""
    for each in request.ordered.factories:
        for path in sorted(each.folder.iterdir()):
            yield ImageFile(f"{FOLDER}/{each.model}/{path.name}", source=path)
