"""Runs a converter in a child process: bounded in time and memory, ended together with its own children.

The end of its output is kept in a file, for the last few runs. The last line that begins with `{` is its answer. Knows
no converter.
"""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from skerry_host import children, failure_log
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.runtime.ended import ending, out_of_memory
from skerry_host.builder.sources.converters import missing_package

MEMORY_BYTES = 16 * 1024**3
"""Address space, not resident memory: TensorFlow maps far more than it touches."""
SECONDS = 600.0
OUTPUT_BYTES = 4 * 1024**2
PREFIX = "skerry-converter-"
"""Begins the names of the files in which outputs are kept."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What to run: `what` names converter and file in errors; `folder` is where the child works."""

    what: str
    command: Sequence[str]
    folder: Path
    seconds: float = SECONDS
    environment: Mapping[str, str] | None = None


def run(conversion: Conversion) -> str:
    """The child's output; raises `ModelError` (converter, hang, crash) that names the file with all that it said."""
    with (conversion.folder / "output.log").open("w+b") as log:
        status = _wait(_started(conversion, log), conversion.seconds)
        log.seek(max(0, log.seek(0, os.SEEK_END) - OUTPUT_BYTES))
        output = log.read().decode("utf-8", "replace")
    if status is None:
        raise ModelError(
            f"{conversion.what} timed out after {conversion.seconds:.0f} s", hint=_kept(output), code="hang"
        )
    if status < 0 or (status and out_of_memory(output)):
        message, advice, code = ending(conversion.what, status, output, MEMORY_BYTES)
        raise ModelError(message, hint="; ".join(filter(None, (advice, _kept(output)))), code=code)
    absent = _ABSENT.search(reason(output)) if status else None
    if absent:
        raise missing_package(conversion.command[0], absent[1])
    if status:
        raise ModelError(f"{conversion.what} fails: {_own(output)}", hint=_kept(output), code="converter")
    return output


def _started(conversion: Conversion, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            conversion.command,
            cwd=conversion.folder,
            env={**children.environment(), **_QUIET, **(conversion.environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_limit,  # noqa: PLW1509  (no thread of this process holds a lock that it needs)
        )
    except OSError as error:
        message = f"{conversion.what} cannot start: {conversion.command[0]}: {error.strerror}"
        raise ModelError(message, hint="set another Python", code="converter") from None


def answer(output: str) -> str:
    """The last line that begins with `{`; empty if there is none."""
    return next((line for line in reversed(output.splitlines()) if line.startswith("{")), "")


def reason(output: str) -> str:
    """The line of an output that says most: the last exception, or else the last line."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"^(\w+\.)*\w*(Error|Exception)\b.*:", line)]
    return (errors or lines or ["it gave no reason"])[-1][:300]


_INTERNAL = (
    "UnboundLocalError",
    "AttributeError",
    "TypeError",
    "NameError",
    "KeyError",
    "IndexError",
    "AssertionError",
)
"""Exceptions by which a program shows a mistake of its own, not of its input."""
_PLACE = re.compile(r'File ".*?([^/"]+)", line (\d+), in (\S+)')


def _own(output: str) -> str:
    """The reason; of an exception that is the tool's own mistake also where in the tool it was raised."""
    said = reason(output)
    places = _PLACE.findall(output)
    if not said.startswith(_INTERNAL) or not places:
        return said
    file, line, function = places[-1]
    return f"its own code fails at {file}:{line} ({function}): {said}"


_ABSENT = re.compile(r"ModuleNotFoundError: No module named '?(\w+)")
_QUIET = {
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONWARNINGS": "ignore",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


def _limit() -> None:
    children.limit(MEMORY_BYTES)


def _wait(child: "subprocess.Popen[bytes]", seconds: float) -> int | None:
    """The exit status, None after a time out. Whatever the child started ends with it."""
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _kept(output: str) -> str:
    """Where the output can be read, for a hint."""
    path = failure_log.keep(output, PREFIX)
    return f"full output: {path}" if path else "its output could not be kept"
