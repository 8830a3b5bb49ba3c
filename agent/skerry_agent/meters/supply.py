"""Remembers what a board said of its supply and its speed between two reports: most of it lasts less than a second.

The firmware of a Raspberry Pi may be cleared by others (see `throttle`), so what this has seen once counts until the
agent ends. Does not know what a failure is: who judges asks `undervoltage_since`.
"""

import time
from collections.abc import Callable

from skerry_agent.meters.throttle import Read, Told, combined
from skerry_agent.wire.telemetry import Sample

NAMES = {
    "undervoltage": "undervoltage",
    "throttled": "throttled_now",
    "had_undervoltage": "undervoltage_since_boot",
    "had_throttled": "throttled_since_boot",
}
"""The samples' names."""

_CAUSES = {"had_undervoltage": "undervoltage", "had_throttled": "throttled"}


class SupplyWatch:
    """Polled every few seconds; the samples say what was so at any of these moments since the last samples."""

    def __init__(self, sources: list[Read], clock: Callable[[], float] = time.monotonic) -> None:
        self._sources, self._clock = sources, clock
        self._told: dict[str, Told] = {}
        self._seen: set[str] = set()
        self._ever: set[str] = set()
        self._low_at: float | None = None
        self.poll()

    @property
    def knows(self) -> bool:
        """Whether this board says anything."""
        return bool(self._sources)

    def poll(self) -> None:
        """Ask now."""
        told = combined([reading for read in self._sources if (reading := read()) is not None])
        now = {name for name, each in told.items() if each.value}
        if "had_undervoltage" in now and self._said_no("had_undervoltage"):
            now.add("undervoltage")  # shorter than the time between two polls
        if "undervoltage" in now:
            self._low_at = self._clock()
        self._told = {**self._told, **told}
        self._seen |= now
        self._ever |= now

    def undervoltage_since(self, at: float) -> str | None:
        """Who has seen too low a voltage since a time of the monotonic clock; None if nobody has."""
        return self._told["undervoltage"].method if self._low_at is not None and self._low_at >= at else None

    def samples(self) -> list[Sample]:
        """`undervoltage` and `throttled_now` since the last call, and both `_since_boot`; only what is told."""
        self.poll()
        seen, self._seen = self._seen, set()
        values = {name: name in seen for name in self._told}
        values |= {name: bool({name, cause} & self._ever) for name, cause in _CAUSES.items() if name in self._told}
        return [
            Sample(NAMES[name], float(value), "1", "measured", self._told[name].method)
            for name, value in values.items()
        ]

    def _said_no(self, name: str) -> bool:
        return name in self._told and not self._told[name].value
