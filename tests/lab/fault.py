"""Runs work in a forked child under strace: recorded, killed at the N-th call of a name, or with that call failing.

A fork, not a new interpreter: everything is imported already, so a point costs tens of milliseconds. The child stops
itself, strace attaches, the child goes on. Knows nothing of devices.
"""

import ctypes
import gc
import os
import re
import shutil
import signal
import subprocess
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.lab.ledger import Ledger

STRACE = shutil.which("strace") or ""
TIMEOUT_S = 30
_PR_SET_PTRACER, _ANY = 0x59616D61, -1
_CALL = re.compile(r"^(\w+)\(")


@dataclass(frozen=True)
class Call:
    """A system call of the clean run: the N-th of its name. `line` is what strace wrote of it."""

    name: str
    ordinal: int
    line: str = ""

    def __str__(self) -> str:
        return f"{self.name}#{self.ordinal}"


@dataclass(frozen=True)
class Ended:
    """How a child ended: by which signal, or with which exit code."""

    signal: int = 0
    code: int = 0
    said: str = ""

    @property
    def well(self) -> bool:
        return self.signal == 0 and self.code == 0


def run(work: Callable[[], None], ledger: Ledger, *strace: str) -> Ended:
    """Run `work` in a child, under strace if it gets arguments."""
    pid = os.fork()
    if pid == 0:
        _child(work, ledger, stop=bool(strace))
    tracer = _attach(pid, strace) if strace else None
    _, status = os.waitpid(pid, 0)
    if tracer is not None:
        tracer.communicate()
    said = "; ".join(ledger.lines("error"))
    return Ended(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, os.waitstatus_to_exitcode(status), said)


def _attach(pid: int, arguments: tuple[str, ...]) -> "subprocess.Popen[str]":
    os.waitpid(pid, os.WUNTRACED)
    tracer = subprocess.Popen([STRACE, *arguments, "-p", str(pid)], stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    line = tracer.stderr.readline()
    os.kill(pid, signal.SIGCONT)
    assert "attached" in line, line
    return tracer


def _child(work: Callable[[], None], ledger: Ledger, *, stop: bool) -> None:
    gc.disable()  # what is collected when must not depend on the run
    code = 0
    try:
        signal.alarm(TIMEOUT_S)
        if stop:
            ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
        work()
    except BaseException as error:  # noqa: BLE001 - the parent judges it
        ledger.note(f"error {type(error).__name__}: {error} @ {_where(error)}")
        code = 70
    finally:
        os._exit(code)


def _where(error: BaseException) -> str:
    """The innermost frames, short."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames))


def record(work: Callable[[], None], folder: Path, out: Path) -> list[Call]:
    """The file system calls of a clean run that touch something below `folder`."""
    ledger = Ledger()
    ended = run(work, ledger, "-y", "-s", "64", "-o", str(out), "-e", "trace=%file,%desc")
    assert ended.well, ended
    return [call for call in _calls(out.read_text(errors="replace")) if str(folder) in call.line]


def _calls(text: str) -> list[Call]:
    seen: Counter[str] = Counter()
    calls = []
    for line in text.splitlines():
        match = _CALL.match(line)
        if match:
            seen[match[1]] += 1
            calls.append(Call(match[1], seen[match[1]], line))
    return calls


def kill_at(work: Callable[[], None], call: Call, ledger: Ledger) -> Ended:
    """Kill -9 as the child enters the call."""
    return run(work, ledger, *_inject(call, "signal=KILL"))


def fail_at(work: Callable[[], None], call: Call, error: str, ledger: Ledger) -> Ended:
    """The call is not carried out and returns `error`."""
    return run(work, ledger, *_inject(call, f"error={error}"))


def _inject(call: Call, what: str) -> tuple[str, ...]:
    fault = f"inject={call.name}:{what}:when={call.ordinal}"
    return "-o", "/dev/null", "-e", f"trace={call.name}", "-e", fault
