"""All meters of a board behind one call, the supervisor's port `Meters`. Sends nothing, keeps no history."""

import os
import threading
from pathlib import Path
from typing import Protocol

from skerry_agent.meters import pmic, procfs, thermal
from skerry_agent.meters.choice import ROOT, choose
from skerry_agent.meters.power import Coefficients, MeasuredPower, Window
from skerry_agent.wire.telemetry import Sample

POLL_S = 2.0
"""How often a sensor with instantaneous values is read; each reading costs a file or, on a Pi 5, a small process."""


class Board(Protocol):
    """The part of a board's description that matters here."""

    @property
    def power(self) -> Coefficients | None:
        """Its power model, if it has one."""


class BoardMeters:
    """Reads everything that this board offers: power, temperature, throttling, CPU and memory of agent and runners."""

    def __init__(self, board: Board, root: Path = ROOT) -> None:
        self._root = root
        self._power = choose(board.power, root, pmic.reader() if root == ROOT else None)
        self._runner_cpu_s: dict[int, float] = {}
        self._agent_cpu_s = procfs.cpu_s_of_tree(root / "proc", os.getpid())
        self._reading = threading.Lock()
        if isinstance(self._power, MeasuredPower):
            threading.Thread(target=self._poll, name="meters", daemon=True).start()

    def samples(self, pids: list[int], duration_s: float) -> list[Sample]:
        """Samples over the last `duration_s` seconds; `pids` are the runners. What is not known is not in the list."""
        window = Window(duration_s, self._runners_used(pids))
        with self._reading:
            samples = self._power.read(window)
        samples += thermal.temperatures(self._root)
        samples += filter(None, (thermal.throttled(self._root), self._cpu(duration_s), self._memory(pids)))
        return samples

    def _poll(self) -> None:
        pause = threading.Event()
        while not pause.wait(POLL_S):
            with self._reading:
                self._power.poll()

    def _runners_used(self, pids: list[int]) -> float:
        """CPU seconds of the runners since the last call; a new runner's count from its start."""
        proc = self._root / "proc"
        now = {pid: used for pid in pids if (used := procfs.cpu_s(proc, pid)) is not None}
        before, self._runner_cpu_s = self._runner_cpu_s, now
        return sum(max(0.0, used - before.get(pid, 0.0)) for pid, used in now.items())

    def _cpu(self, duration_s: float) -> Sample | None:
        """Cores that agent and runners together kept busy."""
        now = procfs.cpu_s_of_tree(self._root / "proc", os.getpid())
        before, self._agent_cpu_s = self._agent_cpu_s, now
        if now is None or before is None or duration_s <= 0:
            return None
        return Sample("cpu", max(0.0, now - before) / duration_s, "cores", "measured", "proc stat, agent and children")

    def _memory(self, pids: list[int]) -> Sample | None:
        """What agent and runners together take."""
        found = [procfs.memory_bytes(self._root / "proc", pid) for pid in (os.getpid(), *pids)]
        known = [memory for memory in found if memory is not None]
        if not known:
            return None
        kinds = "+".join(sorted({kind for _, kind in known}))
        return Sample(
            "memory", float(sum(size for size, _ in known)), "bytes", "measured", f"{kinds}, agent and runners"
        )
