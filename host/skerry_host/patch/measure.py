"""`python -m skerry_host.patch.measure TOOL OLD PATCH NEW`: applies a patch and prints its cost as JSON.

It is a process of its own so that its memory is its own. Extra memory is the growth of anonymous memory while applying:
pages of mapped files belong to the kernel's cache and can go at any time. Of tools that are commands it is all the
anonymous memory of their process: the peak that the kernel keeps of a child counts from before it became that command.
"""

import json
import re
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from skerry_host.patch.peers import PEERS, Peer

PAGE_BYTES = resource.getpagesize()
REPEATS = 5


def own_bytes() -> int:
    """This process's anonymous memory."""
    _, resident, shared, *_ = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return (int(resident) - int(shared)) * PAGE_BYTES


class AnonymousPeak:
    """Samples anonymous memory, this process's own or what `read` says, while in its context.

    `grown` is the most above the start, in bytes.
    """

    def __init__(self, read: Callable[[], int] = own_bytes) -> None:
        self.grown = 0
        self._read = read
        self._start = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "AnonymousPeak":
        """Start to watch."""
        self._start = self._read()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching."""
        self._done.set()
        self._thread.join()

    def look(self) -> None:
        """Take a sample now, as the thread does all the time."""
        self.grown = max(self.grown, self._read() - self._start)

    def _watch(self) -> None:
        while not self._done.wait(0.0003):
            self.look()


def bytes_of_command(name: str) -> Callable[[], int]:
    """A reader of the anonymous memory of the children of that name that this thread starts."""
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    return lambda: sum(_bytes_of(int(child), name) for child in children.read_text(encoding="ascii").split())


def _bytes_of(process: int, name: str) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    except OSError:  # it has just ended
        return 0
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return 1024 * int(found[1]) if found and status.startswith(f"Name:\t{name}\n") else 0


def measure(peer: Peer, old: Path, patch: Path, new: Path) -> dict[str, float | int]:
    """Seconds (the least of some runs) and extra bytes of applying `patch`."""
    sys.setswitchinterval(0.0002)
    with AnonymousPeak(bytes_of_command(peer.command) if peer.command else own_bytes) as peak:
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
