"""Feeds the samples that appear in a folder, and moves each out of the way: to `done/`, or to `bad/` if it is none.

Whoever may write there may put anything there: folders, pipes, files of any size, without permission, with names that
are no text, that vanish again. Each of them is one input error and goes to `bad/`, where nothing is overwritten. What
cannot be moved is fed once, left alone and told as an issue. Does not follow what happens in `done/` and `bad/`.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from skerry_agent.ports import runner_protocol
from skerry_agent.processing import Array, ProcessingError, Sample, parse_npy, parse_npz
from skerry_agent.runner.errors import InferenceError, SourceError
from skerry_agent.runner.feed import Feed, counting_errors
from skerry_agent.state.disk import open_regular

SUFFIXES = (".npy", ".npz")
SETTLE_S = 2.0
"""An unreadable file may still be being written: it counts as an error only when unchanged for this long."""
MAX_SAMPLE_BYTES = 64 * 1024 * 1024
"""Of one file: a picture of 21 million pixels in three colours. Larger ones are not read."""
RETRY_MOVE_S = 30.0
MIN_POLL_S, MAX_POLL_S = 0.02, 3600.0


class _Signature(Struct, frozen=True):
    """Tells a file from another one under its name, and from itself before more was written."""

    inode: int
    size: int
    modified_ns: int


class _Seen(Struct, frozen=True):
    """A file that is still there: since when it is unchanged (monotonic), and where it could not be moved to."""

    signature: _Signature
    since: float
    where: str | None = None


class WatchedFolder:
    """Feeds each .npy file that appears, in the order of names, and each .npz file with an array for each input.

    Writers should write to a name that starts with a dot, or elsewhere on the same file system, and rename.
    """

    def __init__(self, spec: runner_protocol.DirectorySource, feed: Feed, settle_s: float = SETTLE_S) -> None:
        self._folder, self._feed, self._settle_s = Path(spec.path), feed, settle_s
        self._poll_s = min(MAX_POLL_S, max(MIN_POLL_S, spec.poll_s))  # NaN is the shortest
        self._seen: dict[str, _Seen] = {}
        self._retry_at = 0.0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from None

    def run(self, stop: threading.Event) -> None:
        """See `InputSource.run`. Raises `SourceError` when the folder cannot be used, or is gone: it is not made anew.

        A folder that goes is a disk that was pulled out, and one in its place would only hide that.
        """
        try:
            for name in ("done", "bad"):
                (self._folder / name).mkdir(exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from None
        while not stop.wait(self._poll_s):
            self._retry_moves()
            for name in self._names():
                if stop.is_set():
                    return
                counting_errors(self._feed, lambda name=name: self._take(name))  # type: ignore[misc]

    def _names(self) -> list[str]:
        try:
            with os.scandir(self._folder) as entries:
                names = sorted(e.name for e in entries if e.name.endswith(SUFFIXES) and not e.name.startswith("."))
        except OSError as error:
            raise self._unusable(error) from None
        self._seen = {name: self._seen[name] for name in names if name in self._seen}
        return names

    def _take(self, name: str) -> None:
        """Feed one file and move it out of the way, whatever comes of it."""
        seen = self._look(name)
        if seen is None or seen.where is not None:
            return
        try:
            self._feed.sample(self._read(name), shown(name))
        except (ProcessingError, OSError) as error:
            if time.monotonic() - seen.since < self._settle_s or self._look(name) is not seen:
                return
            self._move(name, "bad")
            raise _as_input_error(name, error) from None
        except InferenceError:
            self._move(name, "bad")
            raise
        self._move(name, "done")

    def _read(self, name: str) -> Sample:
        """A file's sample. Raises `ProcessingError`, `OSError`."""
        raw = read_sample(self._folder / name)
        if name.endswith(".npy"):
            return (parse_npy(raw, shown(name)),)
        try:
            return tuple(columns(parse_npz(raw, shown(name)), self._feed.inputs))
        except KeyError as error:
            raise ProcessingError(f"{shown(name)} has no array {error.args[0]}") from None

    def _look(self, name: str) -> _Seen | None:
        """What is known of a file as it is now, None where there is none any more."""
        try:
            found = (self._folder / name).lstat()
        except OSError:
            return None
        signature, seen = _Signature(found.st_ino, found.st_size, found.st_mtime_ns), self._seen.get(name)
        if seen is None or seen.signature != signature:
            seen = self._seen[name] = _Seen(signature, time.monotonic())
        return seen

    def _move(self, name: str, where: str) -> None:
        """Move a file; one that cannot be moved is not fed again."""
        folder = self._folder / where
        try:
            folder.mkdir(exist_ok=True)
            (self._folder / name).rename(free_name(folder, name) if where == "bad" else folder / name)
        except FileNotFoundError:
            return
        except OSError as error:
            seen = self._look(name)
            if seen is not None:
                self._seen[name] = _Seen(seen.signature, seen.since, where)
            if time.monotonic() >= self._retry_at:
                self._retry_at = time.monotonic() + RETRY_MOVE_S
            self._feed.issues.put(self._stuck, f"{self._stuck}: {error.strerror or error}")
            return
        self._seen.pop(name, None)

    def _retry_moves(self) -> None:
        stuck = [(name, seen.where) for name, seen in self._seen.items() if seen.where is not None]
        if not stuck:
            self._feed.issues.clear(self._stuck)
        elif time.monotonic() >= self._retry_at:
            for name, where in stuck:
                seen = self._look(name)
                if seen is not None and seen.where is not None:
                    self._move(name, where)

    @property
    def _stuck(self) -> str:
        return f"files in watched folder {shown(str(self._folder))} cannot be moved out of the way"

    def _unusable(self, error: OSError) -> SourceError:
        why = error.strerror or str(error)
        return SourceError(f"watched folder {shown(str(self._folder))} cannot be used: {why}")


def columns(arrays: Mapping[str, Array], inputs: Sequence[str]) -> list[Array]:
    """The arrays for these inputs: `input_NAME` of each, or `inputs` where there is one. Raises `KeyError`."""
    if len(inputs) == 1 and f"input_{inputs[0]}" not in arrays:
        return [arrays["inputs"]]
    return [arrays[f"input_{name}"] for name in inputs]


def read_sample(path: Path, limit: int = MAX_SAMPLE_BYTES) -> bytes:
    """The bytes of a file. Raises `ProcessingError` where it is too large, `OSError`, also for a folder or a pipe."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        raw = file.read(size + 1) if size <= limit else None  # no more than it is: `read` takes that memory at once
    if raw is None or len(raw) > limit:
        raise ProcessingError(f"{shown(path.name)} is larger than {limit} bytes", hint="write a smaller sample")
    return raw


def free_name(folder: Path, name: str) -> Path:
    """A path in a folder at which nothing is: this name, or one with a number before its suffix."""
    path, number = folder / name, 0
    suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")
    while os.path.lexists(path):
        number += 1
        path = folder / f"{name.removesuffix(suffix)}-{number}{suffix}"
    return path


def shown(name: str) -> str:
    """A file's name as text that any encoding and any terminal takes: a name on a disk is just bytes."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _as_input_error(name: str, error: Exception) -> ProcessingError:
    if isinstance(error, ProcessingError):
        return error
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ProcessingError(f"{shown(name)} cannot be read: {why}")
