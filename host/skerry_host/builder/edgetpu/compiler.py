"""Finds the user's `edgetpu_compiler` and runs it once, in its own folder and with a time limit. Skerry ships none.

Where it is looked for: $SKERRY_EDGETPU_COMPILER (a program, or `image:NAME` of a container image that has it), else
PATH. Does not check the output: compile.py does.
"""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO

from skerry_host import children
from skerry_host.builder.edgetpu.errors import NoCompilerError

VARIABLE = "SKERRY_EDGETPU_COMPILER"
PROGRAM = "edgetpu_compiler"
IMAGE = "image:"
KEPT = 1 << 20
"""Bytes of output that are kept at each end: a log has some thousands."""
GRACE_S = 20.0
"""What a run may take beyond the limit that the compiler itself was given."""

_HOW = (
    "install edgetpu-compiler from the vendor's apt repository (x86-64 Debian; coral.ai/docs/edgetpu/compiler), or set"
    f" {VARIABLE} to the program, or to {IMAGE}NAME for a container image that has it; until then the cpu bundle serves"
)


@dataclass(frozen=True, slots=True)
class Compiler:
    """A compiler: a program, or a container image that holds `edgetpu_compiler`, run by `docker`."""

    program: str
    image: str = ""

    def command(self, folder: Path, arguments: Sequence[str]) -> list[str]:
        """The command that runs in `folder`; a container sees nothing else and has no network."""
        if not self.image:
            return [self.program, *arguments]
        user = f"{os.getuid()}:{os.getgid()}"
        box = ["run", "--rm", "--name", folder.name, "--network", "none", "--user", user, "-v", f"{folder}:/work"]
        return [self.program, *box, "-w", "/work", "--entrypoint", PROGRAM, self.image, *arguments]

    def stop(self, folder: Path) -> None:
        """End what outlives its killed command: a container does."""
        if self.image:
            command = [self.program, "kill", folder.name]
            subprocess.run(command, env=children.environment(), capture_output=True, timeout=GRACE_S, check=False)

    def __str__(self) -> str:
        return f"{self.image} ({self.program})" if self.image else self.program


@dataclass(frozen=True, slots=True)
class Run:
    """What a run printed, both streams in order; `returncode` is `None` when it was ended for taking too long."""

    command: str
    output: str
    returncode: int | None


def find_compiler(named: str | None = None) -> Compiler:
    """The compiler that is `named`, or in the environment, or on PATH; raises `NoCompilerError` with how to get one."""
    named = named or os.environ.get(VARIABLE) or PROGRAM
    if named.startswith(IMAGE):
        return _container(named.removeprefix(IMAGE))
    program = shutil.which(named)
    if program is None:
        what = "no Edge TPU compiler on this machine" if named == PROGRAM else f"{named} is not an executable program"
        raise NoCompilerError(what, hint=_HOW)
    return Compiler(program)


def run_compiler(compiler: Compiler, folder: Path, arguments: Sequence[str], seconds: float) -> Run:
    """Run in `folder`; after `seconds`, or when this is interrupted, it and its children are killed.

    Of a longer output the first and the last `KEPT` bytes are kept. Raises `NoCompilerError` if it cannot start.
    """
    command = compiler.command(folder, arguments)
    try:
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True, env=children.environment(),
        )  # fmt: skip
    except OSError as error:
        raise NoCompilerError(f"{compiler} does not start: {error.strerror}", hint=_HOW) from None
    assert process.stdout is not None
    said = _HeadAndTail(process.stdout)
    try:
        returncode: int | None = process.wait(seconds)
    except subprocess.TimeoutExpired:
        returncode = None
    finally:
        _end(process, compiler, folder)
    return Run(shlex.join(command), said.text(), returncode)


def _end(process: "subprocess.Popen[bytes]", compiler: Compiler, folder: Path) -> None:
    """Kill a run that has not ended by itself: the command, its children, a container."""
    if process.poll() is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    compiler.stop(folder)
    process.wait()


class _HeadAndTail:
    """Reads a stream to its end in a thread of its own, and keeps its first and last bytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._head, self._tail = bytearray(), bytearray()
        self._left_out = 0
        self._thread = Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def text(self) -> str:
        """What was read to the end, as text; who holds on to the stream and lives does not stop a build."""
        self._thread.join(GRACE_S)
        cut = f"\n... {self._left_out} bytes left out ...\n".encode() if self._left_out else b""
        return bytes(self._head + cut + self._tail).decode("utf-8", "replace")

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while part := os.read(stream.fileno(), 1 << 16):
                room = KEPT - len(self._head)
                self._head += part[:room]
                self._tail += part[room:]
                over = max(0, len(self._tail) - KEPT)
                del self._tail[:over]
                self._left_out += over


def _container(image: str) -> Compiler:
    docker = shutil.which("docker")
    if docker is None or not image:
        raise NoCompilerError(f"there is no docker command to run the image {image or '(no name)'}", hint=_HOW)
    return Compiler(docker, image)
