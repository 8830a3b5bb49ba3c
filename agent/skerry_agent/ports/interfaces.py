"""What the supervisor needs from outside, as Protocols. Real adapters and the fakes of the tests both fit them."""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from skerry_agent.ports.jobs import Answer, UpdaterJob
from skerry_agent.ports.runner_protocol import FromRunner, Job, ToRunner
from skerry_agent.wire.telemetry import MeasurementSource, Sample

Post = Callable[[Callable[[], None]], None]
"""Run a call soon, in the supervisor's own thread."""


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Forget it; harmless when it already ran."""


class Clock(Protocol):
    """Time and timers."""

    def monotonic(self) -> float:
        """Seconds that never go backwards."""

    def wall(self) -> float:
        """Seconds since 1970, as far as this device knows."""

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Run `call` in the supervisor's thread after some seconds."""


class Link(Protocol):
    """The way to the broker. Publishing while offline is allowed for retained state only: the adapter keeps none."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""

    @property
    def connection(self) -> int:
        """Counts the attempts to connect since the start."""

    @property
    def why_offline(self) -> str:
        """Why there is no connection, and what to do; empty while there is one, or none was tried."""

    @property
    def issue(self) -> str | None:
        """What is wrong with the connection that there is."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
        """Publish with QoS 1. Returns a token that `on_acked` will name, None while offline."""

    def subscribe(self, topics: list[str]) -> None:
        """Subscribe with QoS 1 to exact topics."""

    def unsubscribe(self, topics: list[str]) -> None:
        """Stop receiving them."""

    def renew(self) -> None:
        """Drop the connection, so that another one is made."""

    def check(self) -> None:
        """Drop a connection that gives no answers, so that another one is made."""


class Runner(Protocol):
    """A running inference process."""

    pid: int

    @property
    def stopped(self) -> bool:
        """Whether somebody has stopped it by a signal, so that it cannot answer."""

    def send(self, message: ToRunner) -> None:
        """Tell it something; harmless when it is gone."""

    def kill(self) -> None:
        """End it at once."""


class RunnerListener(Protocol):
    """Receives a runner's messages and its exit, in the supervisor's thread."""

    def received(self, message: FromRunner) -> None:
        """A message of the runner."""

    def exited(self, reason: str, detail: str) -> None:
        """The process has ended; nothing follows."""


class AcceleratorLook(Struct, frozen=True):
    """What an accelerator's library says: its runtime version, and as a code and in words why there is no device."""

    runtime: int | None = None
    problem: str = ""
    detail: str = ""


class Processes(Protocol):
    """Starts the other processes."""

    def start_runner(self, job: Job, listener: RunnerListener) -> Runner:
        """Start a runner; what it says and that it ended reaches `listener`."""

    def run_updater(self, job: UpdaterJob, answer: Callable[[Answer], None]) -> Callable[[], None]:
        """Run one updater; `answer` gets its result once. The returned call kills it, and no answer comes then."""

    def look_at_accelerator(self, answer: Callable[[AcceleratorLook], None]) -> None:
        """Ask the accelerator's library, which may crash or hang, whether there is a device; one answer comes."""


class Trust(Protocol):
    """Verifies signed messages. Lives in the updater process."""

    def verify(self, raw: bytes, payload_type: str, role: str) -> bytes:
        """The payload of a signed envelope whose signer holds `role`. Raises `TrustError`."""


class ActiveEnergy(Struct, frozen=True):
    """Energy above what an idle board takes. Both uncertainties in joules, of 95 % or so.

    `noise_j` is independent from one stretch to the next, so it becomes small in a sum; `bias_j` is the same in all.
    """

    joules: float
    noise_j: float
    bias_j: float
    source: MeasurementSource
    method: str


class Meters(Protocol):
    """What can be measured on this board."""

    def samples(self, pids: list[int], duration_s: float, accelerator_s: float = 0.0) -> list[Sample]:
        """Samples over the last `duration_s` seconds; `pids` are the runners. `power_active` is watts above idle.

        `accelerator_s` is for how long an accelerator worked for them.
        """

    def active_energy(self, cpu_s: float, accelerator_s: float = 0.0) -> ActiveEnergy | None:
        """What the models took in the stretch of the last `samples`, using so much of both; None where not known."""

    def undervoltage_since(self, at: float) -> str | None:
        """Who has seen too low a supply voltage since a monotonic time; None if nobody has, or nobody looks."""
