"""`python -m skerry_host.patch.measure TOOL OLD PATCH NEW`: applies a patch and prints its cost as JSON.

It is a process of its own so that its memory is its own. Extra memory is the growth of anonymous memory while applying:
pages of mapped files belong to the kernel's cache and can go at any time. Tools that are commands are measured by the
peak resident set of their process, all of it.
"""

import json
import resource
import sys
import threading
import time
from pathlib import Path

from skerry_host.patch.peers import PEERS, Peer

PAGE_BYTES = resource.getpagesize()
REPEATS = 5


class AnonymousPeak:
    """Samples this process's anonymous memory while in its context; `grown` is the most above the start, in bytes."""

    def __init__(self) -> None:
        self.grown = 0
        self._start = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "AnonymousPeak":
        """Start to watch."""
        self._start = _anonymous_bytes()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching."""
        self._done.set()
        self._thread.join()

    def look(self) -> None:
        """Take a sample now, as the thread does all the time."""
        self.grown = max(self.grown, _anonymous_bytes() - self._start)

    def _watch(self) -> None:
        while not self._done.wait(0.0003):
            self.look()


def _anonymous_bytes() -> int:
    _, resident, shared, *_ = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return (int(resident) - int(shared)) * PAGE_BYTES


def measure(peer: Peer, old: Path, patch: Path, new: Path) -> dict[str, float | int]:
    """Seconds (the least of some runs) and extra bytes of applying `patch`."""
    if peer.command:
        seconds = min(_timed(peer, old, patch, new) for _ in range(REPEATS))
        return {"apply_seconds": seconds, "extra_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024}
    sys.setswitchinterval(0.0002)
    with AnonymousPeak() as peak:
        _timed(peer, old, patch, new)
    sys.setswitchinterval(0.005)
    seconds = min(_timed(peer, old, patch, new) for _ in range(REPEATS))
    return {"apply_seconds": seconds, "extra_bytes": peak.grown}


def _timed(peer: Peer, old: Path, patch: Path, new: Path) -> float:
    started = time.perf_counter()
    peer.apply(old, patch, new)
    return time.perf_counter() - started


def main() -> None:
    """Measure what the command line names."""
    name, *paths = sys.argv[1:]
    peer = next(peer for peer in PEERS if peer.name == name)
    print(json.dumps(measure(peer, *map(Path, paths))))  # noqa: T201 - the answer to the parent process


if __name__ == "__main__":
    main()
