"""The power management chip of a Raspberry Pi 5, read by the firmware's own tool `vcgencmd pmic_read_adc`.

It lists one line per rail, `VDD_CORE_A current(7)=1.2345A` and `VDD_CORE_V volt(15)=0.7654V`; power is the sum of the
products. Devices that draw directly from the 5 V supply (USB, fans) are not included.
"""

import re
import shutil
import subprocess
from collections.abc import Callable

_LINE = re.compile(r"^\s*(\w+)_(A|V)\s+(?:current|volt)\(\d+\)=([0-9.]+)[AV]\s*$", re.MULTILINE)
_TIMEOUT_S = 2.0


class PmicPower:
    """The rails of the board: averages the readings between two calls."""

    method = "pmic_read_adc (without 5 V devices)"
    whole_board = True

    def __init__(self, read: Callable[[], str | None]) -> None:
        self._read = read
        self._readings: list[float] = []

    def poll(self) -> None:
        """Take a reading."""
        text = self._read()
        watts = None if text is None else parse(text)
        if watts is not None:
            self._readings.append(watts)

    def mean_watts(self) -> float | None:
        """See `WattSource.mean_watts`."""
        if not self._readings:
            self.poll()
        readings, self._readings = self._readings, []
        return sum(readings) / len(readings) if readings else None


def parse(text: str) -> float | None:
    """Watts of all rails that have both a current and a voltage; None when there are none."""
    values = {(rail, unit): float(value) for rail, unit, value in _LINE.findall(text) if _is_number(value)}
    rails = [rail for rail, unit in values if unit == "A" and (rail, "V") in values]
    return sum(values[rail, "A"] * values[rail, "V"] for rail in rails) if rails else None


def reader() -> Callable[[], str | None] | None:
    """What calls the tool; None where it is not installed."""
    tool = shutil.which("vcgencmd")
    if tool is None:
        return None

    def read() -> str | None:
        try:
            result = subprocess.run(
                [tool, "pmic_read_adc"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
            )
        except (OSError, subprocess.SubprocessError):  # no PMIC on this model, or no right to ask
            return None
        return result.stdout

    return read


def _is_number(text: str) -> bool:
    return text.count(".") <= 1 and text != "."
