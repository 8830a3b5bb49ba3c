"""The record of a device's agents on disk: two copies, each checksummed and replaced whole; read leniently.

In form as the records of `state.disk`, which is not used, because it needs more than the standard library. Fields that
this code does not know, of a newer agent, are ignored; a copy that is damaged or of another form is not used.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skerry_agent.launch.table import BASE, Agent, Ended, Event, Record, Started, Step, Trial, after

FOLDER = "agents"
COPIES = ("record.json", "record.second.json")
LOCK_S = 2.0
"""Who changes the record holds its lock for some milliseconds; one that holds it longer was stopped, or is no more."""
MOST_CHARS = 300


def folder_of(state: Path) -> Path:
    """Where the agents of a device are."""
    return state / FOLDER


def read(folder: Path) -> tuple[Record, str]:
    """The newest whole copy, or a record of the base environment alone; and what was wrong, empty if nothing."""
    found: list[Record] = []
    damage = ""
    for name in COPIES:
        try:
            found.append(_parsed((folder / name).read_bytes()))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            damage = f"{folder / name} is not used: {error}"[:MOST_CHARS]
    return max(found, key=lambda record: record.sequence, default=Record()), damage


def write(folder: Path, record: Record) -> None:
    """Make a record the newest, in both copies. Raises `OSError`; the first copy alone counts by then."""
    make(folder)
    import json  # noqa: PLC0415 - a device whose agent was never upgraded holds no such module

    body = json.dumps(_plain(record), separators=(",", ":")).encode()
    raw = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    for name in COPIES:
        _replace(folder / name, raw)


def change(folder: Path, event: Event) -> Step:
    """Read, decide and write, alone. Raises `OSError` where the record cannot be written: then nothing has changed."""
    with _locked(folder):
        record, damage = read(folder)
        step = after(record, event)
        if step.record != record or damage:
            write(folder, step.record)
        return step


def started(folder: Path) -> Step:
    """Count a start. What cannot be counted is not tried: then it is the current agent that runs."""
    present = frozenset(_present(folder, read(folder)[0]))
    try:
        return change(folder, Started(present))
    except OSError:
        record, _ = read(folder)
        current = record.current
        return Step(record, current if not current.folder or current.folder in present else BASE)


def collect(folder: Path, record: Record, own: str) -> None:
    """Remove the agents that a record does not name, but for `own`, and half-made ones; as far as the disk allows."""
    named = (record.current, record.previous, record.trial.agent if record.trial is not None else None)
    kept = {own, *(agent.folder for agent in named if agent is not None)}
    with contextlib.suppress(OSError):
        for path in list(folder.iterdir()):
            if path.name not in kept and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)


def is_agent(path: Path) -> bool:
    """Whether an agent lies in a folder; whether it runs nobody knows before it does."""
    return (path / "skerry_agent" / "__main__.py").is_file()


def _present(folder: Path, record: Record) -> Iterator[str]:
    """Of the agents that a record names those that are there. One that the disk cannot tell of now is tried."""
    trial = record.trial.agent if record.trial is not None else None
    for agent in (record.current, record.previous, trial):
        if agent is not None and agent.folder:
            try:
                there = is_agent(folder / agent.folder)
            except OSError:
                there = True
            if there:
                yield agent.folder


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone with the record. Where it cannot be had, nobody waits for ever: a hung agent may hold it."""
    make(folder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        ends = time.monotonic() + LOCK_S
        while not _lock(descriptor) and time.monotonic() < ends:
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(path: Path, raw: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync(path.parent)


def make(folder: Path) -> None:
    """Make the folder of agents where it is not there, durably. Raises `OSError`."""
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(value: Any) -> Any:
    """Named tuples as objects."""
    if hasattr(value, "_asdict"):
        return {name: _plain(each) for name, each in value._asdict().items()}
    return list(value) if isinstance(value, tuple) else value


def _parsed(raw: bytes) -> Record:
    digest, _, body = raw.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise ValueError("its checksum is wrong")
    import json  # noqa: PLC0415

    found = json.loads(body)
    if not isinstance(found, dict):
        raise TypeError("it is no object")
    previous, trial, ended = (found.get(name) for name in ("previous", "trial", "ended"))
    return Record(
        int(found["sequence"]),
        _agent(found["current"]),
        _agent(previous) if previous is not None else None,
        _trial(trial) if trial is not None else None,
        Ended(*(str(ended.get(name, "")) for name in Ended._fields)) if ended is not None else None,
        int(found.get("starts", 0)),
    )


def _agent(found: dict[str, Any]) -> Agent:
    name = str(found["folder"])
    if "/" in name or name.startswith("."):
        raise ValueError(f"{name!r} is no folder of an agent")
    return Agent(name, str(found.get("release", "")), str(found.get("version", "")))


def _trial(found: dict[str, Any]) -> Trial:
    return Trial(
        _agent(found["agent"]),
        str(found["deployment"]),
        float(found["deadline_s"]),
        bool(found.get("linked", False)),
        tuple(map(str, found.get("serving", ()))),
        int(found.get("attempts", 0)),
        str(found.get("waiting", "")),
        str(found.get("last", "")),
    )
