"""How far the processor's speed is capped, whoever caps it: its cooling, its owner or its firmware. Reads cpufreq.

Files and units: Linux Documentation/admin-guide/pm/cpufreq.rst (kHz). A cap is not always a fault, so this is a sample
of its own, and not part of what `throttle` says.
"""

from pathlib import Path

from skerry_agent.meters import sysfs
from skerry_agent.wire.telemetry import Sample


def frequency_limit(root: Path) -> Sample | None:
    """The lowest share of its full speed that any cluster of cores may use now; None where the kernel does not say."""
    shares = []
    for policy in sysfs.folders(root / "sys/devices/system/cpu/cpufreq", "policy"):
        now, full = sysfs.read_int(policy / "scaling_max_freq"), sysfs.read_int(policy / "cpuinfo_max_freq")
        if now is not None and full is not None and full > 0:
            shares.append(min(1.0, now / full))
    return Sample("frequency_limit", min(shares), "1", "measured", "cpufreq scaling_max_freq") if shares else None
