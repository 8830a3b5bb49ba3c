"""Temperatures, and whether the board is throttled. Reads sysfs; evaluates nothing.

Units: thermal zones and apex in milli-degrees Celsius (Linux Documentation/driver-api/thermal/sysfs-api.rst; the
gasket driver of google-coral). Raspberry Pi bits: `vcgencmd get_throttled` in the vendor's documentation.
"""

from pathlib import Path

from skerry_agent.meters import sysfs
from skerry_agent.wire.telemetry import Sample

_PI_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
_PI_NOW = 0b1110
"""Frequency capped, throttled, soft temperature limit, each at this moment (bit 0 is a low supply voltage)."""


def temperatures(root: Path) -> list[Sample]:
    """`temperature` of the hottest thermal zone, `temperature_edgetpu` of the hottest PCIe Edge TPU."""
    samples = []
    zones = [(_milli(zone / "temp"), zone) for zone in sysfs.folders(root / "sys/class/thermal", "thermal_zone")]
    readable = [
        (degrees, sysfs.read_text(zone / "type") or zone.name) for degrees, zone in zones if degrees is not None
    ]
    if readable:
        degrees, name = max(readable)
        samples.append(Sample("temperature", degrees, "degC", "measured", name))
    chips = [(_milli(chip / "temp"), chip.name) for chip in sysfs.folders(root / "sys/class/apex", "apex_")]
    hot = [(degrees, name) for degrees, name in chips if degrees is not None]
    if hot:
        degrees, name = max(hot)
        samples.append(Sample("temperature_edgetpu", degrees, "degC", "measured", name))
    return samples


def throttled(root: Path) -> Sample | None:
    """1 while the board slows itself down, 0 while it does not, None where it does not say."""
    text = sysfs.read_text(root / _PI_THROTTLED)
    if text is not None:
        try:
            return _flag(int(text, 16) & _PI_NOW != 0, "firmware get_throttled")
        except ValueError:
            return None
    return _cooling(root)


def _cooling(root: Path) -> Sample | None:
    """From the cooling devices that cap a processor's frequency."""
    devices = sysfs.folders(root / "sys/class/thermal", "cooling_device")
    states = [
        state
        for device in devices
        if (sysfs.read_text(device / "type") or "").startswith(("thermal-cpufreq", "cpufreq", "Processor"))
        and (state := sysfs.read_int(device / "cur_state")) is not None
    ]
    return _flag(any(states), "cpu cooling devices") if states else None


def _flag(value: bool, method: str) -> Sample:
    return Sample("throttled", float(value), "1", "measured", method)


def _milli(path: Path) -> float | None:
    value = sysfs.read_int(path)
    return None if value is None else value / 1000
