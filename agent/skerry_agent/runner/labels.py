"""The names of a bundle's classes: read when somebody asks, checked against the manifest's hash.

One name a line, UTF-8, in the order of the output.
"""

from functools import cached_property
from pathlib import Path

from skerry_agent.ports.runner_protocol import Job
from skerry_agent.runner.artifact import open_checked
from skerry_agent.runner.error_log import ErrorLog
from skerry_agent.runner.errors import EngineError


class Labels:
    """Labels of a job; none where its bundle has none, or the file is damaged (which is logged)."""

    def __init__(self, job: Job) -> None:
        self._job = job

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All of them, cleaned of what is not printable: they may come from elsewhere than our build."""
        artifact = self._job.bundle.artifact("labels")
        if artifact is None:
            return ()
        try:
            with open_checked(self._job, artifact) as path:
                text = Path(path).read_text("utf-8")
        except (EngineError, OSError, UnicodeDecodeError) as error:
            ErrorLog().log(error)
            return ()
        return tuple(map(_cleaned, text.removesuffix("\n").split("\n")))

    def name(self, index: int) -> str | None:
        """The label of a class, None where there is none."""
        return self.names[index] if 0 <= index < len(self.names) else None


def _cleaned(name: str) -> str:
    return "".join(letter if letter.isprintable() or _is_space(letter) else "?" for letter in name)


def _is_space(letter: str) -> bool:
    """A space of any width, which is a symbol of many alphabets; no line ends by it."""
    return letter.isspace() and letter > "\x85" and letter not in "\u2028\u2029"
