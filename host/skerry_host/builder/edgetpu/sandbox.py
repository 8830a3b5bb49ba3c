"""Reads a model file that is not trusted in a child process, which may crash, hang or eat memory instead of this one.

The child parses and answers in one line of JSON; it loads no runtime and runs no model.
"""

import importlib
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from skerry_host import children
from skerry_host.builder.edgetpu.flatbuffer import DamagedError
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.runtime.probe import MEMORY_BYTES, check_head

T = TypeVar("T")
ReadTask = Literal["inspect", "preflight", "sizes"]

SECONDS = 60
_ANSWER = "answer: "
_DAMAGED = "damaged: "
_HINT = "get a new copy of the file from its source"
_TASKS = {
    "inspect": ("skerry_host.builder.edgetpu.inspect", "inspect_to_json"),
    "preflight": ("skerry_host.builder.edgetpu.preflight", "preflight_to_json"),
    "sizes": ("skerry_host.builder.edgetpu.sizes", "preflight_sizes_to_json"),
}


class ReadRequest(Struct, frozen=True):
    """What the child is asked: a task, a file and the task's options."""

    task: ReadTask
    path: str
    options: dict[str, int] = {}


def ask(task: ReadTask, path: Path, kind: type[T], *, seconds: float = SECONDS, **options: int) -> T:
    """The child's answer as a `kind`; raises `ModelError` for a file that is not TFLite, damaged, or hostile."""
    check_head(path)
    request = msgspec.json.encode(ReadRequest(task, str(path), options)).decode()
    command = [sys.executable, "-m", "skerry_host.builder.edgetpu.sandbox", request]
    try:
        done = subprocess.run(
            command, env=children.environment(), capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"reading {path} timed out after {seconds:.0f} s", hint=_HINT, code="hang") from None
    try:
        return msgspec.json.decode(_answer(path, done), type=kind)
    except msgspec.DecodeError:  # JSON has no infinity, and no such scale is of use
        raise ModelError(f"{path} is damaged: a value in it is not a number", hint=_HINT, code="damaged") from None


def _answer(path: Path, done: "subprocess.CompletedProcess[str]") -> str:
    """The JSON of a child that has ended; raises `ModelError` when there is none."""
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise ModelError(f"{path} crashes the parser ({name})", hint=_HINT, code="crash")
    for line in done.stdout.splitlines():
        if line.startswith(_ANSWER):
            return line.removeprefix(_ANSWER)
        if line.startswith(_DAMAGED):
            why = json.loads(line.removeprefix(_DAMAGED))
            raise ModelError(f"{path} is damaged: {why}", hint=_HINT, code="damaged")
    raise ModelError(f"{path} is truncated or damaged", hint=_HINT, code="damaged")


def _child(request: ReadRequest) -> None:
    """Answer; whatever else than `DamagedError` the parsers trip over ends the child without an answer."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    module, function = _TASKS[request.task]
    work = getattr(importlib.import_module(module), function)
    try:
        line = _ANSWER + work(Path(request.path), **request.options).decode()
    except DamagedError as error:
        line = _DAMAGED + json.dumps(str(error))
    print(line, flush=True)  # noqa: T201  (the protocol)


if __name__ == "__main__":
    _child(msgspec.json.decode(sys.argv[1], type=ReadRequest))
