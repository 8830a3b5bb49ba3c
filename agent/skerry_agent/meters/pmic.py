"""The power management chip of a Raspberry Pi 5, read by the firmware's own tool `vcgencmd pmic_read_adc`.

It lists one line per rail, `VDD_CORE_A current(7)=1.2345A` and `VDD_CORE_V volt(15)=0.7654V`; power is the sum of the
products. Devices that draw directly from the 5 V supply (USB, fans), and what the converters lose, are not in it, so it
is less than a wattmeter shows. `EXT5V_V`, the supply, has a voltage and no current.
"""

import re
from collections.abc import Callable

from skerry_agent.meters.readings import Readings
from skerry_agent.wire.telemetry import Sample

_LINE = re.compile(r"^\s*(\w+)_(A|V)\s+(?:current|volt)\(\d+\)=([0-9]+(?:\.[0-9]*)?)[AV]\s*$", re.MULTILINE)
_SUPPLY = "EXT5V"

Read = Callable[[], str | None]


class PmicPower:
    """The rails of the board: averages the readings between two calls."""

    method = "pmic_read_adc (without 5 V devices)"
    whole_board = False
    accuracy = 0.1
    """An estimate: nobody publishes one."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._readings = Readings()
        self._fresh = False

    def poll(self) -> None:
        """Take a reading."""
        text = self._read()
        watts = None if text is None else parse(text)
        if watts is not None:
            self._readings.add(watts)
            self._fresh = True

    def mean_watts(self) -> tuple[float, float] | None:
        """See `WattSource.mean_watts`."""
        if not self._fresh:
            self.poll()
        self._fresh = False
        return self._readings.take()


class SupplyVoltage:
    """Remembers the lowest voltage of the supply among what others read; passes the text on."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._lowest_v: float | None = None
        self._known = self._fresh = False

    def poll(self) -> None:
        """Read, where there is such a voltage and nobody else has read since the last poll."""
        if self._known and not self._fresh:
            self.read()
        self._fresh = False

    def read(self) -> str | None:
        """The tool's text."""
        text = self._read()
        volts = None if text is None else _values(text).get((_SUPPLY, "V"))
        if volts is not None:
            self._lowest_v = volts if self._lowest_v is None else min(volts, self._lowest_v)
            self._known = self._fresh = True
        return text

    def samples(self) -> list[Sample]:
        """`supply_voltage`, the lowest since the last call."""
        volts, self._lowest_v = self._lowest_v, None
        method = f"pmic_read_adc {_SUPPLY}_V, lowest"
        return [] if volts is None else [Sample("supply_voltage", volts, "V", "measured", method)]


def parse(text: str) -> float | None:
    """Watts of all rails that have both a current and a voltage; None when there are none."""
    values = _values(text)
    rails = [rail for rail, unit in values if unit == "A" and (rail, "V") in values]
    return sum(values[rail, "A"] * values[rail, "V"] for rail in rails) if rails else None


def _values(text: str) -> dict[tuple[str, str], float]:
    return {(rail, unit): float(value) for rail, unit, value in _LINE.findall(text)}
