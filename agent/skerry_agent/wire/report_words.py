"""The texts that reports repeat: names, units and methods of samples, each sent as its place in `WORDS`. Pure.

A `#` stands for a number: such a text is sent as its place with the numbers, like `#19 2.7 1.1 50`. Any other text is
sent as it is. The table only ever grows, at its end, and with a new form of reports (`report_forms`): a host that reads
a form knows the words of that form.
"""

import re
from functools import lru_cache

from skerry_agent.wire.errors import WireError

WORDS = (
    "",
    "power",
    "power_active",
    "temperature",
    "temperature_edgetpu",
    "throttled",
    "cpu",
    "memory",
    "W",
    "degC",
    "1",
    "cores",
    "bytes",
    "proc stat, agent and children",
    "pss, agent and runners",
    "rss, agent and runners",
    "pss+rss, agent and runners",
    "cpu cooling devices",
    "firmware get_throttled",
    "# W + # W x busy cores, +-#%",
    "# W x busy cores, +-#%",
    "pmic_read_adc (without # V devices)",
    "pmic_read_adc (without # V devices), less # W idle (board file)",
    "pmic_read_adc (without # V devices), less # W idle (measured)",
    "hwmon ina# power#",
    "hwmon ina# power#, less # W idle (board file)",
    "hwmon ina# power#, less # W idle (measured)",
    "hwmon ina# in#",
    "hwmon ina# in#, less # W idle (board file)",
    "hwmon ina# in#, less # W idle (measured)",
    "hwmon ina# VDD_IN",
    "hwmon ina# VDD_IN, less # W idle (board file)",
    "hwmon ina# VDD_IN, less # W idle (measured)",
    "powercap psys",
    "powercap psys, less # W idle (board file)",
    "powercap psys, less # W idle (measured)",
    "powercap package-# (processor only)",
    "powercap package-# (processor only), less # W idle (measured)",
    "powercap package-# + package-# (processor only)",
    "powercap package-# + package-# (processor only), less # W idle (measured)",
    "cpu-thermal",
    "cpu_thermal",
    "cpu#-thermal",
    "soc-thermal",
    "gpu-thermal",
    "x#_pkg_temp",
    "acpitz",
    "coretemp",
    "CPU-therm",
    "GPU-therm",
    "cv#-thermal",
    "tj-thermal",
    "thermal_zone#",
    "apex_#",
    # with form 3
    "process clocks, agent and children",
    "undervoltage",
    "throttled_now",
    "undervoltage_since_boot",
    "throttled_since_boot",
    "supply_voltage",
    "accelerator_resets",
    "frequency_limit",
    "V",
    "count",
    "firmware mailbox",
    "sysfs get_throttled",
    "vcgencmd get_throttled",
    "hwmon rpi_volt",
    "firmware mailbox + hwmon rpi_volt",
    "sysfs get_throttled + hwmon rpi_volt",
    "vcgencmd get_throttled + hwmon rpi_volt",
    "thermal_throttle counts",
    "pmic_read_adc EXT#V_V, lowest",
    "usb device numbers, since the agent began",
    "cpufreq scaling_max_freq",
    "# W + # W x busy cores, +-#%, wattmeter #-#-#",
    "# W x busy cores, +-#%, wattmeter #-#-#",
    "# W + # W x busy cores + # W x busy accelerator, +-#%",
    "# W x busy cores + # W x busy accelerator, +-#%",
    "hwmon ina#x VDD_IN",
    "hwmon ina#x POM_#V_IN",
    "hwmon ina#x POM_#V_IN, less # W idle (board file)",
    "hwmon ina#x POM_#V_IN, less # W idle (measured)",
)

WORDS_OF_FORM = {2: WORDS.index("apex_#") + 1, 3: len(WORDS)}
"""How many words, from the first, a host knows that reads a form (`report_forms`)."""

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_PLACE_DIGITS = 4
_PLACES = {word: place for place, word in enumerate(WORDS)}


def find_word(text: str, known: int = len(WORDS)) -> int | None:
    """The place of a text without numbers; None if it is not among the first `known` of the table."""
    place = _PLACES.get(text) if "#" not in text else None
    return place if place is not None and place < known else None


def shorten(text: str, known: int = len(WORDS)) -> str:
    """What is sent for a text that has no place of its own; `lengthen` makes the text of it again."""
    place = _PLACES.get(_NUMBER.sub("#", text))
    if place is None or place >= known or "#" in text:
        return f"#{text}" if text.startswith("#") else text
    return f"#{place} {' '.join(_NUMBER.findall(text))}"


@lru_cache(1024)  # a fleet has few, and a host reads thousands of reports a second
def lengthen(text: str) -> str:
    """The text that was shortened; raises `WireError` for one that never was."""
    if not text.startswith("#"):
        return text
    if text.startswith("##"):
        return text[1:]
    place, *numbers = text[1:].split(" ")
    known = place.isdecimal() and len(place) <= _PLACE_DIGITS and int(place) < len(WORDS)
    pieces = WORDS[int(place)].split("#") if known else []
    if len(pieces) != len(numbers) + 1 or not all(map(_NUMBER.fullmatch, numbers)):
        raise WireError("report", [f"texts: {text[:20]!r} is no shortened text"])
    return "".join(piece + number for piece, number in zip(pieces, (*numbers, ""), strict=True))
