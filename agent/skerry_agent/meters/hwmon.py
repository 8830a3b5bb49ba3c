"""Power monitors in the kernel's hwmon class: INA219, INA260, INA3221 and similar, including those on Jetson boards.

Files and units: Linux Documentation/hwmon/sysfs-interface.rst (power in uW, in in mV, curr in mA); kernels of NVIDIA up
to L4T 32 have an INA3221 in the iio class instead (rail_name_0, in_power0_input in mW). Only chips that monitor a
supply are used: the hwmon entries of graphics cards, batteries and chargers measure something else.

Which rails make up a board is known by their labels, and for boards that are known; of others, the largest rail counts,
as a part of the board. Not run on a Jetson.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skerry_agent.meters import sysfs
from skerry_agent.meters.readings import Readings

_MONITORS = ("ina", "ltc", "pac19", "adm1", "max34", "isl", "power_meter", "corsairpsu")
_WHOLE = (
    frozenset({"VDD_IN", "VDD_MUX"}),
    frozenset({"VDD_IN"}),
    frozenset({"POM_5V_IN"}),
    frozenset({"5V_IN"}),
    frozenset({"TOTAL"}),
    frozenset({"VIN"}),
    frozenset({"GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"}),
)
"""Labels of the rails that together are the whole board; adding others would count twice. The first set whose rails are
all there counts. Jetson: TX1 and TX2 feed module and carrier apart (VDD_IN, VDD_MUX), Nano and Xavier NX have one rail
that feeds all, AGX Xavier has none and is the sum of six (energymon/energymon, jetson/JetsonPowerRails.md)."""

_CHANNELS = {"ina3221": ("1", "2", "3")}
"""Chips of which not every `in` is a rail: further ones of an INA3221 are voltages at its shunts, and their sum."""

_LEAST_STEP_W = {"ina219": 0.02, "ina3221": 0.04}
"""What a step is on the usual shunt, at least: an INA219 counts power in 20 times its step of current, which is about
1 mA (data sheet SBOS448), an INA3221 counts in 8 mA on 5 milliohm, which is 40 mW at 5 V (SBOS576). Estimates."""

_MILLI, _MICRO = 1e-3, 1e-6


@dataclass(frozen=True, slots=True)
class Channel:
    """One rail: a power file in some unit, or a voltage and a current file."""

    chip: str
    label: str
    power: Path | None = None
    volts: Path | None = None
    amperes: Path | None = None
    unit_w: float = _MICRO

    def watts(self) -> float | None:
        """The power of this moment; None when it cannot be read."""
        if self.power is not None:
            value = sysfs.read_int(self.power)
            return None if value is None else value * self.unit_w
        if self.volts is None or self.amperes is None:
            return None
        millivolts, milliamperes = sysfs.read_int(self.volts), sysfs.read_int(self.amperes)
        return None if millivolts is None or milliamperes is None else millivolts * milliamperes * _MICRO


class HwmonPower:
    """The rails of the board together: averages the readings between two calls."""

    accuracy = 0.03
    """An INA219 is within 1 % by its data sheet, others within 0.5 to 1.5 %, a usual shunt within 1 %: an estimate."""

    def __init__(self, rails: list[Channel], *, whole_board: bool) -> None:
        chips, labels = sorted({rail.chip for rail in rails}), [rail.label for rail in rails]
        self.whole_board = whole_board
        self.method = f"hwmon {'+'.join(chips)} {'+'.join(labels)}".strip() + ("" if whole_board else " (one rail)")
        self._rails = rails
        self._readings = Readings(sum(_LEAST_STEP_W.get(rail.chip, 0.0) for rail in rails))

    def poll(self) -> None:
        """Take a reading."""
        watts = [rail.watts() for rail in self._rails]
        known = [each for each in watts if each is not None]
        if len(known) == len(watts):
            self._readings.add(sum(known))

    def mean_watts(self) -> tuple[float, float] | None:
        """See `WattSource.mean_watts`."""
        self.poll()
        return self._readings.take()


def find(root: Path) -> HwmonPower | None:
    """The rails of the whole board by their labels, else the one that now shows the most; None without a monitor."""
    chips = sysfs.folders(root / "sys/class/hwmon", "hwmon")
    found = [*(channel for chip in chips for channel in _channels(chip)), *_tegra_channels(root)]
    readable = {channel: watts for channel in found if (watts := channel.watts()) is not None}
    by_label = {channel.label.upper(): channel for channel in readable}
    for labels in _WHOLE:
        if labels <= by_label.keys():
            return HwmonPower([by_label[label] for label in sorted(labels)], whole_board=True)
    if not readable:
        return None
    return HwmonPower([max(readable, key=readable.__getitem__)], whole_board=len(readable) == 1)


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
        if (chip / f"curr{n}_input").exists() and n in _CHANNELS.get(name, (n,))
    ]


def _tegra_channels(root: Path) -> Iterator[Channel]:
    for chip in sorted((root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio:device*")):
        for path, n in _numbered(chip, r"in_power(\d+)_input"):
            label = sysfs.read_text(chip / f"rail_name_{n}") or f"in_power{n}"
            yield Channel("ina3221x", label, power=path, unit_w=_MILLI)


def _numbered(chip: Path, pattern: str) -> list[tuple[Path, str]]:
    matches = ((path, re.fullmatch(pattern, path.name)) for path in sorted(chip.iterdir()))
    return [(path, match[1]) for path, match in matches if match]


def _label(chip: Path, stem: str) -> str:
    return sysfs.read_text(chip / f"{stem}_label") or stem
