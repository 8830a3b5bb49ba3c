"""The families with a line a device, written here in Prometheus's text format.

A fleet has tens of thousands of lines, and a scrape must not hold up the plane, as it would with prometheus-client.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from skerry_host.plane.registry.telemetry.totals import named
from skerry_host.plane.views.views import NewestFigures
from skerry_host.text import clean

_UNSAFE = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
LABELS = 65_536
"""Label values whose escaped form is kept."""
MODEL = ("device", "model", "release")

SAMPLES: dict[tuple[str, str], tuple[str, str]] = {
    ("power", "W"): ("skerry_device_power_watts", "Power of the device."),
    ("power_active", "W"): ("skerry_device_active_power_watts", "Power of the device beyond that at idle."),
    ("supply_voltage", "V"): ("skerry_device_supply_volts", "Supply voltage."),
    ("temperature", "degC"): ("skerry_device_temperature_celsius", "Temperature of the SoC."),
    ("temperature_edgetpu", "degC"): ("skerry_device_edgetpu_temperature_celsius", "Temperature of the Edge TPU."),
    ("throttled", "1"): ("skerry_device_throttled", "1 while the board throttles."),
    ("throttled_now", "1"): ("skerry_device_throttled_now", "1 while the board throttles."),
    ("throttled_since_boot", "1"): ("skerry_device_throttled_since_boot", "1 if the board has throttled."),
    ("undervoltage", "1"): ("skerry_device_undervoltage", "1 while the supply voltage is too low."),
    ("undervoltage_since_boot", "1"): ("skerry_device_undervoltage_since_boot", "1 if it was too low since the boot."),
    ("frequency_limit", "1"): (
        "skerry_device_frequency_limit_ratio",
        "The allowed clock, of the board's own.",
    ),
    ("accelerator_resets", "count"): (
        "skerry_device_accelerator_resets",
        "Resets of a USB accelerator.",
    ),
    ("cpu", "cores"): ("skerry_device_agent_cpu_cores", "Cores that agent and runners keep busy."),
    ("memory", "bytes"): ("skerry_device_agent_memory_bytes", "Memory of agent and runners."),
}
"""The measurements that have a family, by name and unit. Others are not exported: a device's word makes no name."""


@dataclass(frozen=True, slots=True)
class Family:
    """One family: the names of its labels, and (values of the labels, value) of each line; None is left out."""

    name: str
    help: str
    labels: tuple[str, ...]
    rows: Iterable[tuple[tuple[str, ...], float | None]]

    def lines(self) -> Iterator[str]:
        """Nothing for a family without a line."""
        form = ",".join(f'{label}="%s"' for label in self.labels)
        form = f"{self.name}{{{form}}}"
        head = f"# HELP {self.name} {self.help}\n# TYPE {self.name} gauge\n"
        for values, value in self.rows:
            if value is not None:
                yield f"{head}{form % tuple(map(_escaped, values))} {float(value)!r}\n"
                head = ""


@lru_cache(LABELS)
def _escaped(text: str) -> str:
    return clean(text.translate(_UNSAFE))


def device_families(seen: Sequence[NewestFigures], releases: frozenset[str]) -> Iterator[Family]:
    """All of them; releases that no rollout has named are `other`."""
    yield from _devices(seen)
    yield from _models(seen, releases)
    yield from _samples(seen)


def _devices(seen: Sequence[NewestFigures]) -> Iterator[Family]:
    online = (((each.device, each.board), each.online) for each in seen)
    yield Family("skerry_device_online", "1 while the device is connected.", ("device", "board"), online)
    name, words = "skerry_device_last_seen_timestamp_seconds", "When the device last sent a message."
    yield Family(name, words, ("device",), (((each.device,), each.last_seen) for each in seen))


def _models(seen: Sequence[NewestFigures], releases: frozenset[str]) -> Iterator[Family]:
    newest = {(each.device, *named(one.release, releases)): one for each in seen for one in each.models}
    name = "skerry_device_inferences_per_second"
    rates = ((key, one.inferences_per_s) for key, one in newest.items())
    yield Family(name, "Inferences of the newest interval.", MODEL, rates)
    name = "skerry_device_latency_p95_seconds"
    p95 = ((key, _scaled(one.p95_us)) for key, one in newest.items())
    yield Family(name, "95th percentile of the latency of the newest interval.", MODEL, p95)
    name = "skerry_device_energy_per_inference_joules"
    energy = (((*key, one.energy_source or ""), _scaled(one.energy_uj)) for key, one in newest.items())
    yield Family(name, "Energy per inference of the newest interval.", (*MODEL, "source"), energy)
    name = "skerry_device_energy_relative_uncertainty"
    bounds = (((*key, one.energy_source or ""), one.energy_relative_uncertainty) for key, one in newest.items())
    yield Family(name, "What that energy may be off by, as a ratio.", (*MODEL, "source"), bounds)


def _samples(seen: Sequence[NewestFigures]) -> Iterator[Family]:
    rows: dict[str, dict[tuple[str, ...], float | None]] = {name: {} for name, _ in SAMPLES.values()}
    for each in seen:
        for sample in each.samples:
            known = SAMPLES.get((sample.name, sample.unit))
            if known is not None:
                rows[known[0]][each.device, sample.source] = sample.value
    for name, words in SAMPLES.values():
        yield Family(name, words, ("device", "source"), rows[name].items())


def _scaled(value: float | None) -> float | None:
    """Microseconds in seconds, microjoules in joules."""
    return None if value is None else value * 1e-6
