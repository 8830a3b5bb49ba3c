"""The order of classes: from the recipe, from a file beside the data, else from names. Reads only that file.

The order is what a model's outputs mean, so it is never guessed in silence: what is decided here is said.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from skerry_host.builder.data.readers.base import UnusableDataError, listed
from skerry_host.builder.recipe.labels import read_labels

MOST_DIGITS = 7
"""Of the number of a class: more are no number of a class."""
FILES = ("classes.txt", "labels.txt", "classes.names", "obj.names")


def file_of(folder: Path) -> Path | None:
    """The file in `folder` that lists its classes, if there is one."""
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def listed_in(folder: Path) -> tuple[str, ...]:
    """The names in the folder's file of classes, in its order; none without one. Raises `UnusableDataError`."""
    file = file_of(folder)
    if file is None:
        return ()
    try:
        names = read_labels(file).names
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableDataError(f"{file.name}: is not a text file in UTF-8 ({error})") from None
    return tuple(name.strip() for name in names if name.strip())


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """Names as training tools order them: sorted as text, but numbers by their value if all are 0, 1, 2 and so on."""
    names = sorted(names)
    numbers = {name: int(name) for name in names if name.isascii() and name.isdecimal() and len(name) < MOST_DIGITS}
    if len(numbers) == len(names) and sorted(numbers.values()) == list(range(len(names))):
        return tuple(sorted(names, key=numbers.__getitem__))
    return tuple(names)


def places(known: Sequence[str], found: Sequence[str], what: str) -> Mapping[str, int]:
    """The class of each name that was found; raises `UnusableDataError` for those that are none of the known."""
    exact = {name: at for at, name in enumerate(known)}
    plain: dict[str, list[int]] = {}
    for at, name in enumerate(known):
        plain.setdefault(_plain(name), []).append(at)
    placed: dict[str, int] = {}
    for name in found:
        alike = plain.get(_plain(name), [])
        if name in exact:
            placed[name] = exact[name]
        elif len(alike) == 1:
            placed[name] = alike[0]
    strangers = [name for name in found if name not in placed]
    if strangers:
        raise UnusableDataError(f"{what} {listed(strangers)}: none of the classes ({listed(known)})")
    return placed


def _plain(name: str) -> str:
    """Without what file systems and people write differently: `T-shirt/top` is `t_shirt_top`."""
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")
