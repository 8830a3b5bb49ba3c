"""Images in folders by class, or in one folder without labels. Decodes none of them.

A folder below is a class, with all images in it at any depth. `classes.txt` beside them says the order of the classes,
else the recipe, else their names.
"""

from collections.abc import Sequence
from pathlib import Path

from skerry_host.builder.data.readers import classes
from skerry_host.builder.data.readers.base import NO_CLASS, Found, UnusableDataError, Wanted, listed
from skerry_host.builder.data.readers.images import ImageFiles, is_image
from skerry_host.builder.data.readers.walk import folders, walk

LABELLED_TASKS = {"classification", "embedding"}


def read(place: Path, wanted: Wanted) -> Found:
    """The images below a folder; raises `UnusableDataError`, `OSError`."""
    root = inner(place)
    files = walk(root)
    images = [path for path in files if is_image(path)]
    if not images:
        raise UnusableDataError(f"{place.name}: has no images")
    notes = _others([path for path in files if not is_image(path)], root)
    by_class = [path for path in images if path.parent != root]
    if not by_class:
        return _without_labels(images, root, [*notes, "no folders by class: the samples have no labels"])
    if wanted.task not in LABELLED_TASKS:
        return _without_labels(images, root, [*notes, f"folders by class say nothing that {wanted.task} is judged by"])
    if len(by_class) < len(images):
        loose = [path.name for path in images if path.parent == root]
        notes.append(f"images in no folder of a class are left out: {listed(loose)}")
    return labelled(root, by_class, wanted, notes)


def inner(place: Path) -> Path:
    """The folder itself, or the only one in it where that holds all images (an unpacked archive)."""
    below = folders(place)
    if len(below) != 1 or classes.file_of(place) or any(is_image(path) for path in place.iterdir() if path.is_file()):
        return place
    return inner(below[0]) if any(has_images(path) for path in folders(below[0])) else place


def has_images(folder: Path) -> bool:
    """Whether there are images in a folder, at any depth."""
    return any(is_image(path) for path in walk(folder))


def class_names(root: Path, paths: Sequence[Path], wanted: Wanted) -> tuple[tuple[str, ...], list[str], list[str]]:
    """The classes in their order, the folder of each file, and what to say of the order."""
    folders_of = [path.relative_to(root).parts[0] for path in paths]
    there = classes.in_order(sorted(set(folders_of)))
    named = wanted.names or classes.listed_in(root)
    if not named and there != tuple(sorted(there)):
        return there, folders_of, ["folders are numbers: each is the class of its number"]
    empty = [path.name for path in folders(root) if path.name not in set(there)]
    return named or there, folders_of, [f"folders without a sample: {listed(empty)}"] if empty else []


def labelled(root: Path, paths: Sequence[Path], wanted: Wanted, notes: list[str]) -> Found:
    """Images with the class of the folder that they are in."""
    names, folders_of, said = class_names(root, paths, wanted)
    placed = classes.places(names, sorted(set(folders_of)), "folders")
    truth = [placed[name] for name in folders_of]
    return Found(
        ImageFiles(paths),
        [str(path.relative_to(root)) for path in paths],
        [(path,) for path in paths],
        truth,
        truth,
        names,
        tuple(notes + said),
    )


def _without_labels(images: Sequence[Path], root: Path, notes: list[str]) -> Found:
    keys = [str(path.relative_to(root)) for path in images]
    groups = [NO_CLASS] * len(images)
    return Found(ImageFiles(images), keys, [(path,) for path in images], None, groups, (), tuple(notes))


def _others(files: Sequence[Path], root: Path) -> list[str]:
    strange = [str(path.relative_to(root)) for path in files if path.name not in classes.FILES]
    return [f"{len(strange)} files are no images: {listed(strange)}"] if strange else []
