"""The names of a model's classes: in the recipe itself, or in a text file beside it, one a line.

They end up on devices, in answers to applications and on operators' screens, so each must be one line of plain text.
"""

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
        both = ["labels: give names or file, not both"] if self.names and self.file else []
        return both + label_problems(self.names, "labels.names") + ([] if self.file else self.negative_problems)

    @property
    def negative_problems(self) -> list[str]:
        """What is wrong with `negative`, once the names are known."""
        unknown = self.negative and self.negative_index is None
        return [f"labels.negative: {self.negative!r} is none of the labels"] if unknown else []


def label_problems(names: tuple[str, ...], where: str) -> list[str]:
    """What makes names unfit to be shown, one line each; `where` says where they stand."""
    return [f"{where}[{at}]: {problem}" for at, name in enumerate(names) if (problem := _problem(name))]


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
