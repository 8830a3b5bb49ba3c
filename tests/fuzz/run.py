"""Runs a reader on mutants in a child process, which may die of one: watched for errors, time and memory."""

import faulthandler
import json
import mmap
import multiprocessing
import os
import resource
import signal
import struct
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.files import scratch_files_removed
from tests.fuzz.mutate import mutant
from tests.fuzz.readers import BY_NAME, Read, Reader

HANG_S = 10.0
"""For one mutant; nothing here may take as long on a machine that does other things beside."""
STUCK_S = 60.0
"""After so long a child that does not come back from native code is killed."""
MEMORY_BYTES = 768 << 20
"""What a child may have more than after its first readings; each reader's own limits are far below."""
MAX_FAILURES = 20
WARM = 20


class HangError(BaseException):
    """A mutant took too long. No `Exception`, so that no reader takes it for damage."""


@dataclass
class Found:
    """What became of the mutants. `failures`: how each went wrong, and the file that has it."""

    reader: str
    mutants: int = 0
    read: int = 0
    refused: int = 0
    grown_bytes: int = 0
    slowest_s: float = 0.0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, object]:
        """As one line, `failures` counted."""
        return {**self.__dict__, "slowest_s": round(self.slowest_s, 3), "failures": len(self.failures)}


def fuzz(name: str, numbers: range, out: Path, hang_s: float = HANG_S) -> Found:
    """Give these mutants to a reader; after a death the next child goes on behind the mutant that it died of."""
    total, began = Found(name), time.monotonic()
    while numbers and len(total.failures) < MAX_FAILURES:
        with scratch_files_removed():
            part, numbers = _child(name, numbers, (out, hang_s))
        for key in ("mutants", "read", "refused"):
            setattr(total, key, getattr(total, key) + getattr(part, key))
        total.grown_bytes = max(total.grown_bytes, part.grown_bytes)
        total.slowest_s = max(total.slowest_s, part.slowest_s)
        total.failures += part.failures
    total.seconds = round(time.monotonic() - began, 1)
    return total


def _child(name: str, numbers: range, how: tuple[Path, float]) -> tuple[Found, range]:
    """One child's part, and the numbers that are left."""
    shared, context = mmap.mmap(-1, 16), multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(name, numbers, how, shared, theirs))
    process.start()
    theirs.close()
    at, since, answer = -1, time.monotonic(), None
    while answer is None and time.monotonic() - since < STUCK_S:
        try:
            answer = ours.recv() if ours.poll(1.0) else None
        except EOFError:
            break
        now = _progress(shared)
        at, since = (now, time.monotonic()) if now != at else (at, since)
    if answer is None:
        process.kill()
    process.join()
    if answer is not None:
        return Found(**json.loads(answer)), numbers[len(numbers) :]
    died = _progress(shared)
    ended = f"killed by {signal.Signals(-process.exitcode).name}" if (process.exitcode or 0) < 0 else "ended"
    reader = BY_NAME[name]
    line = _saved(how[0], (name, died), mutant(name, died, reader.seeds(), reader.tokens), f"the process was {ended}")
    return Found(name, died - numbers.start + 1, failures=[line]), range(died + 1, numbers.stop)


def _progress(shared: mmap.mmap) -> int:
    return int(struct.unpack("<q", shared[:8])[0])


def _work(name: str, numbers: range, how: tuple[Path, float], shared: mmap.mmap, answer: object) -> None:
    """What the child does."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # libraries complain there of every file
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    found, reader = Found(name), BY_NAME[name]
    seeds = reader.seeds()
    read = reader.open()
    signal.signal(signal.SIGALRM, _too_long)
    base = 0
    for number in numbers:
        shared[:8] = struct.pack("<q", number)
        _one(reader, read, (number, mutant(name, number, seeds, reader.tokens)), found, how)
        if number - numbers.start == WARM:
            base = _limited()
        if len(found.failures) >= MAX_FAILURES:
            break
    found.grown_bytes = max(0, _peak_bytes() - base) if base else 0
    answer.send(json.dumps(found.__dict__))  # type: ignore[attr-defined]
    os._exit(0)


def _one(reader: Reader, read: Read, case: tuple[int, bytes], found: Found, how: tuple[Path, float]) -> None:
    (number, raw), (out, hang_s) = case, how
    name = reader.name, number
    began = time.perf_counter()
    try:
        with _alarm(hang_s):
            read(raw)
        found.read += 1
    except reader.refuses as error:
        found.refused += 1
        if "\n" in str(error):
            found.failures.append(_saved(out, name, raw, f"more than one line: {error!r}"))
    except (Exception, HangError) as error:  # noqa: BLE001 - whatever it is, it is a finding
        where = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {str(error)[:200]} ({Path(where.filename).name}:{where.lineno})"
        found.failures.append(_saved(out, name, raw, what))
    found.mutants += 1
    found.slowest_s = max(found.slowest_s, time.perf_counter() - began)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _too_long(_signal: int, _frame: object) -> None:
    raise HangError("it took too long")


def _limited() -> int:
    """Limit the memory that this process may have from now on; returns its peak so far."""
    with Path("/proc/self/status").open(encoding="ascii") as status:
        data = next(int(line.split()[1]) for line in status if line.startswith("VmData")) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (data + MEMORY_BYTES, data + MEMORY_BYTES))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak_bytes()


def _peak_bytes() -> int:
    with Path("/proc/self/status").open(encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024


def _saved(out: Path, name: tuple[str, int], raw: bytes, what: str) -> str:
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name[0]}-{name[1]}.bin"
    path.write_bytes(raw)
    return f"{name[0]} {name[1]}: {what}; saved as {path}"
