"""Temperatures of the board and of its accelerator. Reads sysfs; evaluates nothing, and knows nothing of throttling.

Units: thermal zones, hwmon and apex in milli-degrees Celsius (Linux Documentation/driver-api/thermal/sysfs-api.rst and
Documentation/hwmon/sysfs-interface.rst; the gasket driver of google-coral).
"""

from pathlib import Path

from skerry_agent.meters import sysfs
from skerry_agent.wire.telemetry import Sample

_NOT_MEASURED = frozenset({"PMIC-Die"})
"""Zones that say the same always: on Jetson boards this one says 100 (balena-os/balena-jetson issue 142)."""

_LOWEST, _HIGHEST = -60.0, 200.0
"""What is beyond is none: a zone of a Jetson that is off says -256 (laminair/jetson_stats_node_exporter issue 29)."""

_PROCESSORS = ("coretemp", "k10temp", "cpu_thermal", "zenpower")
"""hwmon chips in the processor: AMD's have no thermal zone."""


def temperatures(root: Path) -> list[Sample]:
    """`temperature` of the hottest thermal zone, `temperature_edgetpu` of the hottest PCIe Edge TPU."""
    chips = [(_milli(chip / "temp"), chip.name) for chip in sysfs.folders(root / "sys/class/apex", "apex_")]
    found = {
        "temperature": _zones(root) or _processors(root),
        "temperature_edgetpu": [(degrees, name) for degrees, name in chips if degrees is not None],
    }
    hottest = {name: max(readings) for name, readings in found.items() if readings}
    return [Sample(name, degrees, "degC", "measured", where) for name, (degrees, where) in hottest.items()]


def _zones(root: Path) -> list[tuple[float, str]]:
    zones = sysfs.folders(root / "sys/class/thermal", "thermal_zone")
    named = [(_milli(zone / "temp"), sysfs.read_text(zone / "type") or zone.name) for zone in zones]
    return [(degrees, name) for degrees, name in named if degrees is not None and name not in _NOT_MEASURED]


def _processors(root: Path) -> list[tuple[float, str]]:
    chips = sysfs.folders(root / "sys/class/hwmon", "hwmon")
    named = [(chip, name) for chip in chips if (name := sysfs.read_text(chip / "name")) in _PROCESSORS]
    readings = [(_milli(path), name) for chip, name in named for path in sorted(chip.glob("temp*_input"))]
    return [(degrees, name) for degrees, name in readings if degrees is not None]


def _milli(path: Path) -> float | None:
    value = sysfs.read_int(path)
    return value / 1000 if value is not None and _LOWEST <= value / 1000 <= _HIGHEST else None
