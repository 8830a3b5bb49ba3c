"""Telemetry: what a device measured over an interval. Units are in the names; absent is None, never 0.

A report is identified by (device, boot, sequence); the host drops duplicates, and answers with a receipt, because a
broker that has acknowledged a report may still lose it.
"""

from typing import Literal

from msgspec import Struct

from skerry_agent.wire.names import Count, DeviceId, ReleaseName
from skerry_agent.wire.sketch import Sketch

MeasurementSource = Literal["measured", "modelled"]


class Sample(Struct, frozen=True):
    """One measurement, with unit and source. `method` names the sensor, or the model with its uncertainty.

    `relative_uncertainty` is that of the value: 0.35 is 35 %; None where nobody knows.
    """

    name: str
    value: float
    unit: str
    source: MeasurementSource
    method: str = ""
    relative_uncertainty: float | None = None


class ModelStats(Struct, frozen=True):
    """One model over the interval. Energy is per inference and comes with its source and its relative uncertainty.

    It is that of the latest inferences that took enough to be told from noise, so it may go back to before the
    interval, and is absent until there are so many. `errors` are the model's own, `input_errors` inputs that no model
    could have answered: damaged, of another shape.
    """

    model: str
    release: ReleaseName
    inferences: Count
    errors: Count
    invalid_outputs: Count = 0
    dropped: Count = 0
    latency: Sketch = Sketch()
    load_us: float | None = None
    rss_bytes: int | None = None
    energy_uj: float | None = None
    energy_source: MeasurementSource | None = None
    energy_method: str = ""
    outputs: dict[str, int] = {}
    energy_relative_uncertainty: float | None = None
    input_errors: Count = 0


class Report(Struct, frozen=True):
    """One interval of one device: `started` is its wall clock at the start, `uptime_s` the monotonic one at the end.

    A device whose clock was never set says so by an implausible `started`; the host then works it out from `uptime_s`.
    """

    device: DeviceId
    boot: str
    sequence: Count
    started: float
    uptime_s: float
    duration_s: float
    models: tuple[ModelStats, ...] = ()
    samples: tuple[Sample, ...] = ()
    outbox_dropped: Count = 0


Span = tuple[Count, Count]
"""Sequences from the first to the last, both included."""


class Stored(Struct, frozen=True):
    """The reports of one boot that are stored: spans in order and apart."""

    boot: str
    spans: tuple[Span, ...]


class Receipt(Struct, frozen=True):
    """What the host has stored of one device's reports. Says nothing of a boot that it leaves out.

    `reads` are the forms of reports that the host reads (`report_forms`). Older hosts say none, and read JSON.
    """

    boots: tuple[Stored, ...]
    reads: tuple[int, ...] = ()

    def names(self, boot: str, sequence: int) -> bool:
        """Whether a report is stored."""
        spans = next((each.spans for each in self.boots if each.boot == boot), ())
        return any(first <= sequence <= last for first, last in spans)
