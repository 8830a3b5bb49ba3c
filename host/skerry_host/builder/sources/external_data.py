"""Which files an ONNX file may pull in: none outside of its folder. Looks at names only; opens nothing."""

import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath


def issues(folder: Path, locations: Iterable[str]) -> list[str]:
    """What is wrong with each location of external data; empty if all are plain files of `folder`.

    A link is refused wherever it points: it makes a file from elsewhere look like one of the folder.
    """
    found = ((location, _problem(folder, location)) for location in sorted(locations))
    return [f"external data {location!r} {problem}" for location, problem in found if problem]


def _problem(folder: Path, location: str) -> str:
    name = PurePosixPath(location)
    if name.is_absolute() or ".." in name.parts or "\\" in location or "\0" in location or not name.parts:
        return "leaves the model's folder"
    path = folder
    for part in name.parts:
        path /= part
        try:
            found = path.lstat()
        except OSError:
            return "is not there"
        if stat.S_ISLNK(found.st_mode):
            return "is a symbolic link"
    if not stat.S_ISREG(found.st_mode):
        return "is not a file"
    return "is a hard link" if found.st_nlink > 1 else ""
