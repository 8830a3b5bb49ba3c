"""Measures Skerry's patch of one pair of files beside generic tools: size, time, memory. Decides nothing."""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from skerry_host import children
from skerry_host.patch.create import create
from skerry_host.patch.peers import GENERIC, PEERS, SKERRY, Peer


@dataclass(frozen=True, slots=True)
class ToolFigures:
    """One tool: patch size, percent of the full file, seconds to make and apply, extra bytes while applying."""

    bytes: int
    percent: float
    create_seconds: float
    apply_seconds: float
    extra_bytes: int


@dataclass(frozen=True, slots=True)
class Bench:
    """Figures of one pair. `limit_bytes` is an empirical limit for what Skerry codes (see `Patch.entropy_bytes`).

    `warnings` names the candidates that failed: then Skerry's figure is not what it should be.
    """

    full_bytes: int
    codec: str
    limit_bytes: int | None
    tools: dict[str, ToolFigures]
    absent: list[str]
    warnings: list[str]

    @property
    def best_generic(self) -> str | None:
        """The generic tool with the smallest patch."""
        present = [name for name in GENERIC if name in self.tools]
        return min(present, key=lambda name: self.tools[name].bytes, default=None)

    def as_json(self) -> dict[str, Any]:
        """Everything, with the comparison that matters."""
        best, own = self.best_generic, self.tools[SKERRY.name]
        smaller = round(self.tools[best].bytes / own.bytes, 3) if best else None
        return {**asdict(self), "best_generic": best, "times_smaller_than_best_generic": smaller}


def bench(old: Path, new: Path) -> Bench:
    """The figures of every installed tool for turning `old` into `new`."""
    size = new.stat().st_size
    tools: dict[str, ToolFigures] = {}
    with tempfile.TemporaryDirectory(prefix="skerry-delta-") as folder:
        patch = Path(folder) / "patch"
        made = create(old.read_bytes(), new.read_bytes())
        patch.write_bytes(made.data)
        tools[SKERRY.name] = _row(SKERRY, old, new, patch, made.seconds)
        for peer in (peer for peer in PEERS if peer.installed and peer is not SKERRY):
            started = time.perf_counter()
            peer.make(old, new, patch)
            tools[peer.name] = _row(peer, old, new, patch, time.perf_counter() - started)
    absent = [peer.name for peer in PEERS if not peer.installed]
    return Bench(size, made.codec, made.entropy_bytes, tools, absent, [str(failure) for failure in made.failed])


def _row(peer: Peer, old: Path, new: Path, patch: Path, seconds: float) -> ToolFigures:
    out = patch.with_name("made")
    command = [sys.executable, "-m", "skerry_host.patch.measure", peer.name, old, patch, out]
    words = [str(word) for word in command]
    answer = subprocess.run(words, env=children.environment(), check=True, capture_output=True, text=True)
    if out.read_bytes() != new.read_bytes():
        raise RuntimeError(f"{peer.name} does not reproduce {new} from its own patch")
    cost = json.loads(answer.stdout)
    percent = round(100 * patch.stat().st_size / max(1, new.stat().st_size), 3)
    return ToolFigures(
        patch.stat().st_size, percent, round(seconds, 3), round(cost["apply_seconds"], 4), cost["extra_bytes"]
    )
