"""Power over a time window, and the part of it that the models cause. Always says where a value comes from.

A measured value names its sensor, a modelled one its formula; the two are never blended, and each has its uncertainty.
That is of two kinds: noise (a sensor's step, the spread of its readings, the step of the CPU clock) becomes small when
much is added up; a bias (a sensor's accuracy, coefficients of a board that are off) does not.
"""

from dataclasses import dataclass
from typing import Protocol

from skerry_agent.ports.interfaces import ActiveEnergy
from skerry_agent.wire.telemetry import Sample

IDLE_CORES = 0.05
"""Runners that use less than this much of a core leave a board idle, as far as any sensor can tell."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time: its length, the CPU seconds that the runners used in it, and the step in which they count.

    `accelerator_s` is for how long an accelerator worked for them.
    """

    seconds: float
    cpu_s: float
    step_s: float = 0.0
    accelerator_s: float = 0.0


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

    @property
    def accelerator_w(self) -> float | None:
        """Watts that the accelerator adds while it works; None where nobody knows."""

    @property
    def calibrated(self) -> str:
        """What they were measured with: `wattmeter 2026-11-29`; empty for those of the board's file."""


class PowerMeter(Protocol):
    """Answers for a window that ends now."""

    def poll(self) -> None:
        """Take a reading in between, where a sensor shows only the moment."""

    def read(self, window: Window) -> list[Sample]:
        """`power` and `power_active` (above idle), each in watts, as far as they are known."""

    def active(self, cpu_s: float, accelerator_s: float = 0.0) -> ActiveEnergy | None:
        """The energy above idle in the window read last, of models that used so much of both; None if not known."""


class WattSource(Protocol):
    """A sensor's mean power since it was last asked. `accuracy` is relative, of the sensor itself."""

    method: str
    whole_board: bool
    accuracy: float

    def poll(self) -> None:
        """See `PowerMeter.poll`."""

    def mean_watts(self) -> tuple[float, float] | None:
        """(mean since the last call, its noise in watts); None when it cannot be read, or not yet."""


class MeasuredPower:
    """A sensor, less what it shows when no runner works.

    Idle is the lowest mean of a window with idle runners. Until one was seen, the board's figure serves where the
    sensor sees the whole board; else `power_active` is absent.
    """

    def __init__(self, source: WattSource, board: Coefficients | None) -> None:
        self._source = source
        self._idle_w = board.idle_w if board is not None and source.whole_board else None
        self._idle_bias_w = board.idle_w * board.uncertainty if board is not None else 0.0
        self._idle_noise_w = 0.0
        self._idle_from = (board.calibrated if board is not None else "") or "board file"
        self._learned = False
        self._last: tuple[float, float, float] | None = None

    def poll(self) -> None:
        """See `PowerMeter.poll`."""
        self._source.poll()

    def read(self, window: Window) -> list[Sample]:
        """See `PowerMeter.read`."""
        mean, self._last = self._source.mean_watts(), None
        if mean is None:
            return []
        watts, noise_w = mean
        self._last = watts, noise_w, window.seconds
        if window.cpu_s < IDLE_CORES * window.seconds:
            self._learn_idle(watts, noise_w)
        bound = self._source.accuracy + (noise_w / watts if watts > 0 else 0.0)
        samples = [Sample("power", watts, "W", "measured", self._source.method, bound)]
        energy = self.active(window.cpu_s)
        if energy is not None and energy.joules > energy.noise_j and window.seconds > 0:
            active_w, bound = energy.joules / window.seconds, (energy.noise_j + energy.bias_j) / energy.joules
            samples.append(Sample("power_active", active_w, "W", "measured", energy.method, bound))
        return samples

    def active(self, cpu_s: float, accelerator_s: float = 0.0) -> ActiveEnergy | None:  # noqa: ARG002 - the port's
        """See `PowerMeter.active`. Below 0 where the board took less than at idle, so that noise cancels out."""
        if self._last is None or self._idle_w is None:
            return None
        watts, noise_w, seconds = self._last
        above_w = watts - self._idle_w
        bias_w = self._source.accuracy * abs(above_w) + self._idle_bias_w
        return ActiveEnergy(
            joules=above_w * seconds,
            noise_j=(noise_w + self._idle_noise_w) * seconds,
            bias_j=bias_w * seconds,
            source="measured",
            method=f"{self._source.method}, less {self._idle_w:.2f} W idle ({self._idle_from})",
        )

    def _learn_idle(self, watts: float, noise_w: float) -> None:
        if not self._learned or self._idle_w is None or watts < self._idle_w:
            self._learned = True
            self._idle_w, self._idle_noise_w, self._idle_from = watts, noise_w, "measured"
            self._idle_bias_w = 0.0


class ModelledPower:
    """No sensor: idle watts of the board plus watts per busy core, from the CPU time of the runners alone.

    An accelerator counts while it works. What it takes is most of such an energy, so without it there is none.
    """

    def __init__(self, board: Coefficients) -> None:
        self._board = board
        accelerator = f" + {board.accelerator_w:g} W x busy accelerator" if board.accelerator_w is not None else ""
        origin = f", {board.calibrated}" if board.calibrated else ""
        self._formula = f"{board.watts_per_core:g} W x busy cores{accelerator}, +-{board.uncertainty:.0%}{origin}"
        self._step_j = 0.0

    def poll(self) -> None:
        """Nothing to do: CPU time adds up by itself."""

    def read(self, window: Window) -> list[Sample]:
        """See `PowerMeter.read`."""
        board = self._board
        self._step_j = board.watts_per_core * window.step_s
        if window.seconds <= 0:
            return []
        joules = self._joules(window.cpu_s, window.accelerator_s)
        if joules is None:
            return []
        active, noise = joules / window.seconds, self._step_j / window.seconds
        whole, bound = board.idle_w + active, board.uncertainty
        bound_of_whole = bound + (noise / whole if whole > 0 else 0.0)
        samples = [Sample("power", whole, "W", "modelled", f"{board.idle_w:g} W + {self._formula}", bound_of_whole)]
        if active > noise:
            samples.append(Sample("power_active", active, "W", "modelled", self._formula, bound + noise / active))
        return samples

    def active(self, cpu_s: float, accelerator_s: float = 0.0) -> ActiveEnergy | None:
        """See `PowerMeter.active`."""
        joules = self._joules(cpu_s, accelerator_s)
        if joules is None:
            return None
        return ActiveEnergy(joules, self._step_j, self._board.uncertainty * joules, "modelled", self._formula)

    def _joules(self, cpu_s: float, accelerator_s: float) -> float | None:
        """None for an accelerator of which nobody knows what it takes."""
        accelerator_w = self._board.accelerator_w
        if accelerator_s > 0 and accelerator_w is None:
            return None
        return self._board.watts_per_core * cpu_s + (accelerator_w or 0.0) * accelerator_s


class AbsentPower:
    """Neither sensor nor model."""

    def poll(self) -> None:
        """Nothing to do."""

    def read(self, window: Window) -> list[Sample]:  # noqa: ARG002 - the signature is the port's
        """Nothing is known."""
        return []

    def active(self, cpu_s: float, accelerator_s: float = 0.0) -> ActiveEnergy | None:  # noqa: ARG002 - the port's
        """Nothing is known."""
        return None
