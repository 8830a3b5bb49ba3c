"""Power monitors in the kernel's hwmon class: INA219, INA260, INA3221 and similar, including those on Jetson boards.

Files and units: Linux Documentation/hwmon/sysfs-interface.rst (power in uW, in in mV, curr in mA). Only chips that
monitor a supply are used: the hwmon entries of graphics cards, batteries and chargers measure something else.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from skerry_agent.meters import sysfs

_MONITORS = ("ina", "ltc", "pac19", "adm1", "max34", "isl", "power_meter", "corsairpsu")
_TOTALS = ("VDD_IN", "POM_5V_IN", "5V_IN", "TOTAL", "VIN")
"""Labels of the rail that feeds all others (Jetson carriers, common overlays); adding rails would count twice."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One rail: a power file, or a voltage and a current file."""

    chip: str
    label: str
    power: Path | None = None
    volts: Path | None = None
    amperes: Path | None = None

    def watts(self) -> float | None:
        """The power of this moment; None when it cannot be read."""
        if self.power is not None:
            microwatts = sysfs.read_int(self.power)
            return None if microwatts is None else microwatts / 1e6
        if self.volts is None or self.amperes is None:
            return None
        millivolts, milliamperes = sysfs.read_int(self.volts), sysfs.read_int(self.amperes)
        return None if millivolts is None or milliamperes is None else millivolts * milliamperes / 1e6


class HwmonPower:
    """The rail that feeds the board: averages the readings between two calls."""

    whole_board = True

    def __init__(self, channel: Channel) -> None:
        self.method = f"hwmon {channel.chip} {channel.label}".strip()
        self._channel = channel
        self._readings: list[float] = []

    def poll(self) -> None:
        """Take a reading."""
        watts = self._channel.watts()
        if watts is not None:
            self._readings.append(watts)

    def mean_watts(self) -> float | None:
        """See `WattSource.mean_watts`."""
        self.poll()
        readings, self._readings = self._readings, []
        return sum(readings) / len(readings) if readings else None


def find(root: Path) -> Channel | None:
    """The channel of the whole board: by its label, else the one that now shows the most; None without a monitor."""
    found = [c for chip in sysfs.folders(root / "sys/class/hwmon", "hwmon") for c in _channels(chip)]
    readable = [(channel, watts) for channel in found if (watts := channel.watts()) is not None]
    totals = [pair for pair in readable if pair[0].label.upper() in _TOTALS]
    best = max(totals or readable, key=lambda pair: pair[1], default=None)
    return None if best is None else best[0]


def _channels(chip: Path) -> list[Channel]:
    name = sysfs.read_text(chip / "name") or ""
    if not name.startswith(_MONITORS):
        return []
    powers = [
        Channel(name, _label(chip, f"power{n}"), power=path)
        for path, n in _numbered(chip, r"power(\d+)_(?:input|average)")
    ]
    if powers:
        return powers
    return [
        Channel(name, _label(chip, f"in{n}"), volts=path, amperes=chip / f"curr{n}_input")
        for path, n in _numbered(chip, r"in(\d+)_input")
        if (chip / f"curr{n}_input").exists()
    ]


def _numbered(chip: Path, pattern: str) -> list[tuple[Path, str]]:
    matches = ((path, re.fullmatch(pattern, path.name)) for path in sorted(chip.iterdir()))
    return [(path, match[1]) for path, match in matches if match]


def _label(chip: Path, stem: str) -> str:
    return sysfs.read_text(chip / f"{stem}_label") or stem
