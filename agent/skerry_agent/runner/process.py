"""Memory limits and memory use of a runner, through the kernel and the C library. Linux only."""

import ctypes
import os
import resource
import sys
from pathlib import Path

from skerry_agent.ports.heap import give_back_blocks, share_heaps

_MADV_DONTNEED = 4
_LARGE = 1024 * 1024


def reduce_memory() -> None:
    """Ask Python and glibc (mallopt(3)) not to trade memory for speed that a runner does not need.

    To be called before anything large is imported. Threads share two heaps instead of 8 per core; large blocks
    are given back as soon as they are freed; hashlib works without OpenSSL, because a runner hashes only two files.
    """
    sys.modules.setdefault("_hashlib", None)  # type: ignore[arg-type]
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    share_heaps(2)
    give_back_blocks(_LARGE)


def trim() -> None:
    """Give back the memory that loading and validation no longer need (malloc_trim(3))."""
    malloc_trim = getattr(_libc(), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def drop_pages(file: Path) -> None:
    """Give back the pages of a mapped file that are here only because it was read (madvise(2), MADV_DONTNEED).

    XNNPACK computes with a packed copy of a model's weights, so most of the file is never looked at again; a page that
    is comes back from the page cache. Only mappings that cannot be written, whose pages are the file's.
    """
    wanted = file.stat()
    device = f"{os.major(wanted.st_dev):02x}:{os.minor(wanted.st_dev):02x}"
    with Path("/proc/self/maps").open() as maps:
        for addresses, mode, _offset, where, inode, *_name in map(str.split, maps):
            if (where, inode) == (device, str(wanted.st_ino)) and "w" not in mode:
                start, end = (int(address, 16) for address in addresses.split("-"))
                _libc().madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def limit_memory(limit_bytes: int) -> None:
    """Make allocations beyond about `limit_bytes` of resident memory fail.

    RLIMIT_AS would count mapped model files and reserved heaps, which cost nothing; RLIMIT_RSS does nothing.
    RLIMIT_DATA (private writable memory, touched or not) is the nearest: what is untouched so far is allowed for.
    It stops a runaway; the exact budget is judged by the supervisor from `Heartbeat.rss_bytes`.
    """
    status = _status()
    untouched = max(0, status["VmData"] - status["RssAnon"])
    limit = limit_bytes + untouched
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def rss_bytes() -> int:
    """Resident memory of this process."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - once a second, for ever: the cheapest way
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def waited_s() -> float:
    """For how long the first thread, which loads and validates, was ready to run and did not: others had the processor.

    From schedstat, as proc(5) has it; 0 where the kernel does not count that.
    """
    try:
        with open("/proc/self/schedstat", "rb") as file:  # noqa: PTH123 - like `rss_bytes`
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _status() -> dict[str, int]:
    """The kB lines of /proc/self/status, in bytes."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if words[-1] == "kB"}


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
