"""Power over a time window, and the part of it that the models cause. Always says where a value comes from.

A measured value names its sensor, a modelled one its formula and uncertainty; the two are never blended.
"""

from dataclasses import dataclass
from typing import Protocol

from skerry_agent.wire.telemetry import Sample

IDLE_CORES = 0.05
"""Runners that use less than this much of a core leave a board idle, as far as any sensor can tell."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time: its length, and the CPU seconds that the runners used in it."""

    seconds: float
    cpu_s: float


class Coefficients(Protocol):
    """A board's power model: watts at idle, watts per busy core, relative uncertainty."""

    @property
    def idle_w(self) -> float:
        """Watts at idle."""

    @property
    def watts_per_core(self) -> float:
        """Watts that one busy core adds."""

    @property
    def uncertainty(self) -> float:
        """Relative: 0.35 is 35 %."""


class PowerMeter(Protocol):
    """Answers for a window that ends now."""

    def poll(self) -> None:
        """Take a reading in between, where a sensor shows only the moment."""

    def read(self, window: Window) -> list[Sample]:
        """`power` and `power_active` (above idle), each in watts, as far as they are known."""


class WattSource(Protocol):
    """A sensor's mean power since it was last asked."""

    method: str
    whole_board: bool

    def poll(self) -> None:
        """See `PowerMeter.poll`."""

    def mean_watts(self) -> float | None:
        """Mean since the last call; None when it cannot be read, or not yet."""


class MeasuredPower:
    """A sensor, less what it shows when no runner works.

    Idle is the lowest mean of a window with idle runners. Until one was seen, the board's figure serves where the
    sensor sees the whole board; else `power_active` is absent.
    """

    def __init__(self, source: WattSource, board: Coefficients | None) -> None:
        self._source = source
        self._idle_w = board.idle_w if board is not None and source.whole_board else None
        self._idle_from = "board file"

    def poll(self) -> None:
        """See `PowerMeter.poll`."""
        self._source.poll()

    def read(self, window: Window) -> list[Sample]:
        """See `PowerMeter.read`."""
        watts = self._source.mean_watts()
        if watts is None:
            return []
        if window.cpu_s < IDLE_CORES * window.seconds:
            self._learn_idle(watts)
        samples = [Sample("power", watts, "W", "measured", self._source.method)]
        if self._idle_w is not None and watts > self._idle_w:
            method = f"{self._source.method}, less {self._idle_w:.2f} W idle ({self._idle_from})"
            samples.append(Sample("power_active", watts - self._idle_w, "W", "measured", method))
        return samples

    def _learn_idle(self, watts: float) -> None:
        if self._idle_from == "board file" or self._idle_w is None or watts < self._idle_w:
            self._idle_w, self._idle_from = watts, "measured"


class ModelledPower:
    """No sensor: idle watts of the board plus watts per busy core, from the CPU time of the runners alone."""

    def __init__(self, board: Coefficients) -> None:
        self._board = board

    def poll(self) -> None:
        """Nothing to do: CPU time adds up by itself."""

    def read(self, window: Window) -> list[Sample]:
        """See `PowerMeter.read`."""
        board = self._board
        if window.seconds <= 0:
            return []
        active = board.watts_per_core * window.cpu_s / window.seconds
        formula, error = f"{board.watts_per_core:g} W x busy cores", f", +-{board.uncertainty:.0%}"
        samples = [Sample("power", board.idle_w + active, "W", "modelled", f"{board.idle_w:g} W + {formula}{error}")]
        if active > 0:
            samples.append(Sample("power_active", active, "W", "modelled", formula + error))
        return samples


class AbsentPower:
    """Neither sensor nor model."""

    def poll(self) -> None:
        """Nothing to do."""

    def read(self, window: Window) -> list[Sample]:  # noqa: ARG002 - the signature is the port's
        """Nothing is known."""
        return []
