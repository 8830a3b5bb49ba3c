"""Energy counters of the processor packages (RAPL) through the kernel's powercap class. Often readable by root only.

Files and units: Linux Documentation/power/powercap/powercap.rst; `energy_uj` wraps at `max_energy_range_uj`.
"""

import time
from collections.abc import Callable
from pathlib import Path

from skerry_agent.meters import sysfs

UPDATE_S = 1e-3
"""How often the processor brings its counters up to date (Intel, Software Developer's Manual, volume 3B, RAPL)."""


class PowercapPower:
    """The packages' energy divided by time: an exact mean. Sees the processor only, unless there is a `psys` zone."""

    accuracy = 0.1
    """An estimate: the processor measures or models it, depending on its age, and its maker promises nothing."""

    def __init__(self, zones: list[Path], clock: Callable[[], float] = time.monotonic) -> None:
        names = [sysfs.read_text(zone / "name") or zone.name for zone in zones]
        self.whole_board = names == ["psys"]
        self.method = f"powercap {' + '.join(names)}" + ("" if self.whole_board else " (processor only)")
        self._zones = zones
        self._ranges = [sysfs.read_int(zone / "max_energy_range_uj") or 0 for zone in zones]
        self._clock = clock
        self._at = clock()
        self._energies = self._read()
        self._used_uj: float | None = 0.0

    def poll(self) -> None:
        """Add up what was used: a counter may wrap within minutes, and would be misread if it did so twice."""
        now = self._read()
        if now is None or self._energies is None:
            self._used_uj = None
        elif self._used_uj is not None:
            pairs = zip(now, self._energies, self._ranges, strict=True)
            used = [_difference(new, old, wraps_at) for new, old, wraps_at in pairs]
            self._used_uj = None if min(used, default=0) < 0 else self._used_uj + sum(used)
        self._energies = now

    def mean_watts(self) -> tuple[float, float] | None:
        """See `WattSource.mean_watts`."""
        self.poll()
        at, used = self._clock(), self._used_uj
        seconds, self._at, self._used_uj = at - self._at, at, 0.0
        if used is None or seconds <= 0:
            return None
        watts = used / seconds / 1e6
        return watts, watts * 2 * UPDATE_S / seconds

    def _read(self) -> list[int] | None:
        energies = [sysfs.read_int(zone / "energy_uj") for zone in self._zones]
        return None if None in energies else [energy for energy in energies if energy is not None]


def find(root: Path) -> list[Path]:
    """The zones to add up: `psys` (the whole platform) alone, else every package; none where they cannot be read."""
    zones = [
        zone
        for zone in sysfs.folders(root / "sys/class/powercap", "intel-rapl:")
        if sysfs.read_int(zone / "energy_uj") is not None
    ]
    psys = [zone for zone in zones if sysfs.read_text(zone / "name") == "psys"]
    return psys[:1] or zones


def _difference(new: int, old: int, wraps_at: int) -> int:
    """Below 0 where a counter fell and it is not known where it wraps."""
    return new - old if new >= old else new - old + wraps_at
