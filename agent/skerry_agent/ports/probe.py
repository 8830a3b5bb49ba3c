"""Asks a runtime, in a child process, whether it works on this very processor; tells apart why it does not.

A wheel of another build may use instructions that a processor lacks, and ends the process that imports it with SIGILL:
so nothing is ever imported here. The child loads no model.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from skerry_agent.ports.bounded import run_bounded
from skerry_agent.ports.lifetime import die_with_parent
from skerry_agent.ports.path import with_path
from skerry_agent.ports.signals import signal_name
from skerry_agent.wire.engines import EngineName

PROBE_S = 120.0
"""An emulated board takes ten seconds to import numpy."""
ILLEGAL_INSTRUCTION = "the build uses instructions that this processor does not have"
_GLIBC = re.compile(r"version [`'](GLIBC(?:XX)?_[0-9.]+)' not found")
_FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT})
_MAX_WORDS = 300


class Probe(Struct, frozen=True):
    """What came of it. Without a `reason` it works, and `detail` is its name and version.

    Else it is `runtime_crashed`, `runtime_needs_glibc`, `runtime_does_not_load` or `runtime_hangs`; or `interrupted`,
    which says nothing of it: somebody else ended the child.
    """

    reason: str
    detail: str


def probe(engine: EngineName, imports: Sequence[str] = (), path: str = "", title: str = "") -> Probe:
    """Import these modules and try an engine, with a folder before all others on the path. `title` is for people."""
    command = [sys.executable, "-m", "skerry_agent.runner.engines.check", engine, *imports]
    title = title or engine
    try:
        done = run_bounded(command, PROBE_S, environment=with_path(path), before=die_with_parent)
    except subprocess.TimeoutExpired:
        return Probe("runtime_hangs", f"{title} does not load within {PROBE_S:.0f} s")
    except OSError as error:
        return Probe("interrupted", f"{title}: no process could be started: {error.strerror}")
    if done.returncode < 0:
        return _ended_by(-done.returncode, done.stderr, title)
    if done.returncode:
        return _failed(done.stderr, done.returncode, title)
    return Probe("", done.stdout.strip())


def _ended_by(number: int, said: str, title: str) -> Probe:
    name = signal_name(number)
    if number in _FROM_OUTSIDE:
        return Probe("interrupted", f"{title}: the process that imported it was ended by {name}")
    why = f": {ILLEGAL_INSTRUCTION}" if number == signal.SIGILL else ""
    words = f" ({_last_line(said)})" if number != signal.SIGILL and said.strip() else ""
    return Probe("runtime_crashed", f"{name} at import of {title} on {processor()}{why}{words}")


def _failed(said: str, status: int, title: str) -> Probe:
    lacking = _GLIBC.search(said)
    if lacking is not None:
        here = os.confstr("CS_GNU_LIBC_VERSION") or "an unknown libc"
        return Probe("runtime_needs_glibc", f"{title} needs {lacking[1]}, and this system has {here}")
    return Probe("runtime_does_not_load", f"{title}: {_last_line(said) or f'exit status {status}'}")


def _last_line(said: str) -> str:
    return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")[:_MAX_WORDS]


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What this processor is, as people know it; on Arm, where the kernel gives no name, its numbers and the board."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    told = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if value}
    maker, part = told.get("cpu implementer"), told.get("cpu part")
    arm = f"Arm CPU {maker}/{part}" if maker and part else ""
    parts = [told.get("model name") or arm, told.get("model") if arm else "", os.uname().machine]
    return ", ".join(filter(None, parts))
