"""Collects the candidates that failed: they make a patch larger and cost a warning, but never fail it.

It shows nothing: whoever asked for the patch says what failed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from skerry_agent.patch import Codec


@dataclass(frozen=True, slots=True)
class Failed:
    """A candidate that could not be made, or whose patch does not make the new file; `reason` is its error."""

    codec: Codec
    reason: str

    def __str__(self) -> str:
        return f"the {self.codec} candidate failed and was left out ({self.reason}); please report this pair of files"


class Failures:
    """What failed while one patch was made."""

    def __init__(self) -> None:
        self.found: list[Failed] = []

    @contextmanager
    def guard(self, codec: Codec) -> Iterator[None]:
        """Keep an error of the candidate `codec` from the others."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one candidate, another makes the file
            self.found.append(Failed(codec, one_line(error)))


def one_line(error: Exception) -> str:
    """The class and text of `error` as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
