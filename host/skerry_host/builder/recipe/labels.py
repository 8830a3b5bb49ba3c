"""The names of a model's classes: in the recipe itself, or in a text file beside it, one a line.

They end up on devices, in answers to applications and on operators' screens, so each must be one line of plain text.
"""

import unicodedata
from pathlib import Path

from msgspec import Struct

MAX_LENGTH = 256


class Labels(Struct, frozen=True):
    """The name of each class, in the order of the output: `names`, or the lines of `file`.

    `negative` is the one that means that nothing is there.
    """

    names: tuple[str, ...] = ()
    file: str | None = None
    negative: str = ""

    @property
    def negative_index(self) -> int | None:
        """The class that means that nothing is there."""
        return self.names.index(self.negative) if self.negative in self.names else None

    @property
    def problems(self) -> list[str]:
        """What is wrong with them, one line each."""
        return self.problems_of("")

    def problems_of(self, task: str) -> list[str]:
        """The same for a task: the symbols of a sequence may be spaces."""
        both = ["labels: give names or file, not both"] if self.names and self.file else []
        wrong = label_problems(self.names, "labels.names", task)
        return both + wrong + ([] if self.file else self.negative_problems)

    @property
    def negative_problems(self) -> list[str]:
        """What is wrong with `negative`, once the names are known."""
        unknown = self.negative and self.negative_index is None
        return [f"labels.negative: {self.negative!r} is none of the labels"] if unknown else []


def label_problems(names: tuple[str, ...], where: str, task: str = "") -> list[str]:
    """What makes names unfit to be shown, one line each; `where` says where they stand."""
    spaces = task == "sequence"
    return [
        f"{where}[{at}]: {problem}"
        for at, name in enumerate(names)
        if (problem := _problem(name)) and not (spaces and _is_space(name))
    ]


def _is_space(name: str) -> bool:
    """One space of any width, such as between words or between ideographs; nothing that moves a cursor."""
    return len(name) == 1 and unicodedata.category(name) == "Zs"


def read_labels(path: Path) -> Labels:
    """The labels in a UTF-8 file, one a line. Raises `OSError`, `UnicodeDecodeError`."""
    text = path.read_text("utf-8-sig")
    return Labels(tuple(text.removesuffix("\n").split("\n")) if text else (), None)


def _problem(name: str) -> str:
    if not name.isprintable():
        return f"{name[:MAX_LENGTH]!r} is not one line of text"
    if not name.strip():
        return "is empty"
    return f"has {len(name)} characters, at most {MAX_LENGTH}" if len(name) > MAX_LENGTH else ""
