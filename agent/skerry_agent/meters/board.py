"""All meters of a board behind one call, the supervisor's port `Meters`. Sends nothing, keeps no history.

Drivers are read in a thread of their own (`worker`), which may hang in one; then its values go missing, and the
supervisor goes on.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from skerry_agent.meters import procfs, thermal, throttle
from skerry_agent.meters.choice import ROOT, choose
from skerry_agent.meters.frequency import frequency_limit
from skerry_agent.meters.pmic import SupplyVoltage
from skerry_agent.meters.power import Coefficients, PowerMeter, Window
from skerry_agent.meters.supply import SupplyWatch
from skerry_agent.meters.tool import FirmwareTool
from skerry_agent.meters.usb import AcceleratorResets
from skerry_agent.meters.worker import Worker
from skerry_agent.ports.interfaces import ActiveEnergy
from skerry_agent.wire.telemetry import Sample

POLL_S = 2.0
"""How often a sensor with instantaneous values is read; each reading costs a file or, on a Pi 5, a small process."""

_TICK_S = 1e-6
_CLOCKS, _TICKS = "process clocks, agent and children", "proc stat, agent and children"

OPEN_PATIENCE_S = 5.0
"""How long an agent's start waits until it is known what this board has; it may turn out later, too."""

PATIENCE_S = 1.0
"""How long the supervisor waits for its sensors."""


class Board(Protocol):
    """The part of a board's description that matters here."""

    @property
    def power(self) -> Coefficients | None:
        """Its power model, if it has one."""


@dataclass(frozen=True, slots=True)
class _Sensors:
    """What has to be polled, and may hang."""

    power: PowerMeter
    voltage: SupplyVoltage
    supply: SupplyWatch
    resets: AcceleratorResets

    def poll(self) -> None:
        for each in (self.power, self.voltage, self.supply, self.resets):
            each.poll()

    def read(self, window: Window) -> list[Sample]:
        others = self.voltage.samples(), self.supply.samples(), self.resets.samples()
        return [*self.power.read(window), *(sample for samples in others for sample in samples)]


class BoardMeters:
    """Reads everything that this board offers: power, temperature, throttling, CPU and memory of agent and runners."""

    def __init__(self, board: Board, root: Path = ROOT) -> None:
        self._root, self._board = root, board
        self._step_s = procfs.resolution_s(root / "proc")
        self._runner_cpu_s: dict[int, float] = {}
        self._agent_cpu_s = procfs.cpu_s_of_tree(root / "proc", os.getpid())
        self._sensors: _Sensors | None = None
        self._worker = Worker(self._poll, POLL_S)
        self._worker.ask(self._open, OPEN_PATIENCE_S)

    def samples(self, pids: list[int], duration_s: float, accelerator_s: float = 0.0) -> list[Sample]:
        """See `Meters.samples`. What is not known is not in the list."""
        window = Window(duration_s, self._runners_used(pids), self._step_s * len(pids), accelerator_s)
        read = self._worker.ask(lambda: self._read(window), PATIENCE_S) or []
        return [*read, *filter(None, (self._cpu(duration_s), self._memory(pids)))]

    def active_energy(self, cpu_s: float, accelerator_s: float = 0.0) -> ActiveEnergy | None:
        """See `Meters.active_energy`."""
        sensors = self._sensors
        if sensors is None:
            return None
        return self._worker.ask(lambda: sensors.power.active(cpu_s, accelerator_s), PATIENCE_S)

    def undervoltage_since(self, at: float) -> str | None:
        """See `Meters.undervoltage_since`. Looks once more: what fails may fail before the next poll."""
        sensors = self._sensors
        if sensors is None or not sensors.supply.knows:
            return None
        self._worker.ask(sensors.supply.poll, PATIENCE_S)
        return sensors.supply.undervoltage_since(at)

    # -- in the thread that may hang -----------------------------------------------------------------------------------

    def _open(self) -> None:
        """Find out what this board has."""
        root = self._root
        tool = FirmwareTool.find() if root == ROOT else None
        voltage = SupplyVoltage(lambda: tool.ask("pmic_read_adc") if tool is not None else None)
        voltage.read()
        power = choose(self._board.power, root, voltage.read if tool is not None else None)
        supply = SupplyWatch(throttle.sources(root, tool.ask if tool is not None else None))
        self._sensors = _Sensors(power, voltage, supply, AcceleratorResets(root))

    def _read(self, window: Window) -> list[Sample]:
        sensors, limit = self._sensors, frequency_limit(self._root)
        others = [*thermal.temperatures(self._root), *([limit] if limit is not None else [])]
        return [*sensors.read(window), *others] if sensors is not None else others

    def _poll(self) -> None:
        if self._sensors is not None:
            self._sensors.poll()

    # -- of processes, which need no driver ----------------------------------------------------------------------------

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
        method = _CLOCKS if self._step_s < _TICK_S else _TICKS
        return Sample("cpu", max(0.0, now - before) / duration_s, "cores", "measured", method)

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
