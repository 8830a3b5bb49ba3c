"""The data that commands, the HTTP API and the web page show of a fleet. Plain values with units in their names.

Times are seconds since 1970. Absent is None. Made by `gather`; holds no queries.
"""

from msgspec import Struct, field
from msgspec.structs import replace

from skerry_host.plane.views.known import KnownView
from skerry_host.plane.views.plane_state import PlaneView
from skerry_host.plane.views.settings import SettingsView
from skerry_host.plane.views.upgrades import UpgradeView
from skerry_host.release.fitting import Admission

FRESH_S, MOST_FRESH_S = 120.0, 86_400.0
"""Figures are current for so long after they came, or for twice their interval; never for more than a day."""


def is_current(received: float | None, duration_s: float, now: float) -> bool:
    """Whether figures of an interval may be shown as those of now. By the host's clock: a device's may be wrong."""
    return received is not None and now - received < min(max(FRESH_S, 2 * duration_s), MOST_FRESH_S)


class SampleView(Struct, frozen=True):
    """One measurement, with unit and source."""

    name: str
    value: float
    unit: str
    source: str
    method: str
    relative_uncertainty: float | None = None


class Point(Struct, frozen=True):
    """One interval of one model: rates are per second of that interval."""

    at: float
    release: str
    inferences_per_s: float
    p50_us: float | None
    p95_us: float | None
    p99_us: float | None
    energy_uj: float | None
    energy_relative_uncertainty: float | None = None


class DeploymentView(Struct, frozen=True):
    """One device's attempt; `state` is "waiting" before the device has reported on it.

    `transports` are those that its bytes came by, in the order of first use: retained, asked, http, folder. `runtime`
    is what it runs with, empty for the base environment's.
    """

    id: str
    rollout: str | None
    device: str
    release: str
    target: str
    wave: int
    state: str
    outcome: str | None
    reason: str
    detail: str
    transfer: str | None
    bytes_received: int
    bytes_expected: int
    full_bytes: int
    seconds: float
    attempts: int
    gap_us: float | None
    sent: float | None
    ended: float | None
    transports: str = field(default="", name="ways")
    runtime: str = ""


class RolloutView(Struct, frozen=True):
    """A rollout; `deployments` may be one page of them, the figures are of all its `devices`.

    `runtime` is what was asked for: a name, `base`, or empty where each device keeps its own.

    `outcomes` counts the deployments that have ended, by outcome. `bytes_received` is what all devices received for it,
    and `full_bytes` what the full artifacts would have been for those that received anything. `admission`: who was left
    out before it began.
    """

    id: str
    release: str
    selection: str
    state: str
    reason: str
    created: float
    ended: float | None
    deployments: tuple[DeploymentView, ...] = ()
    devices: int = 0
    outcomes: dict[str, int] = {}
    bytes_received: int = 0
    full_bytes: int = 0
    admission: Admission | None = None
    runtime: str = ""

    def count(self, outcome: str | None) -> int:
        """How many deployments have an outcome (None: are open)."""
        return self.devices - sum(self.outcomes.values()) if outcome is None else self.outcomes.get(outcome, 0)


class ModelView(Struct, frozen=True):
    """One model on one device; figures are of the newest interval, `points` oldest first.

    `attempted`, `outcome` and `reason` are of the device's latest deployment; `desired` is the release that the device
    is to run now: once it has given up what was assigned, that is what it keeps. `runtime` and `previous_runtime`
    are what these run with, empty for the base environment's, `other_runtime` that it is not the desired one, and
    `runtime_gone` that it is not there, so that the base environment's stands in. `engine` is what runs it now;
    `attempted_runtime`: the latest deployment was for the release that runs, with another runtime.
    """

    model: str
    release: str | None
    previous: str | None
    desired: str | None = field(name="wanted")
    state: str
    serving: bool
    attempted: str | None = None
    outcome: str | None = None
    reason: str = ""
    inferences: int | None = None
    errors: int | None = None
    input_errors: int | None = None
    energy_source: str | None = None
    energy_method: str = ""
    rss_bytes: int | None = None
    points: tuple[Point, ...] = ()
    runtime: str = ""
    previous_runtime: str = ""
    other_runtime: bool = False
    runtime_gone: bool = False
    engine: str = ""
    attempted_runtime: bool = False

    @property
    def condition(self) -> str:
        """What the model does, as a code: its machine's state, or whether it serves once that is at rest."""
        if self.state not in {"idle", "committed"}:
            return self.state
        return "serving" if self.serving else "not_serving" if self.release else "idle"

    @property
    def missed(self) -> bool:
        """Whether the latest deployment was for something else than what runs, and has not led there."""
        other = self.attempted != self.release or self.attempted_runtime
        return self.outcome not in {None, "succeeded"} and other

    @property
    def diverged(self) -> bool:
        """Whether it runs another release or runtime than the desired ones, and is not about to: it has rolled back."""
        other = self.desired != self.release or self.other_runtime
        return self.desired is not None and other and self.state == "idle"

    @property
    def newest(self) -> Point | None:
        """The newest interval, with the latency and energy of the last one that had any, unless that is over for long.

        The rate is always the newest one: of a device that nobody asks it is 0, however often it was asked before.
        """
        late = [p for p in self.points if p.at >= self.points[-1].at - FRESH_S]
        mine = [p for p in late if p.release == self.release and p.p50_us is not None] or late
        return replace(mine[-1], inferences_per_s=self._newest_rate) if mine else None

    @property
    def _newest_rate(self) -> float:
        """Of the release that runs; of another one only if nothing is known of it in the newest interval."""
        newest = [p for p in self.points if p.at == self.points[-1].at]
        mine = [p for p in newest if p.release == self.release] or newest
        return mine[-1].inferences_per_s


class AlarmView(Struct, frozen=True):
    """What a person must look at; `since` is None where only the twin says it."""

    kind: str
    text: str
    since: float | None = None


class DeviceView(Struct, frozen=True):
    """One device; `generation` is that of its desired state, `accepted` the newest that the device has accepted.

    `online` is None where no plane runs that could know it. `reports_missing` counts telemetry reports that have not
    arrived though later ones have: lost, or still on the device. `outbox_dropped` counts those that the device has
    discarded. `measured` is when the newest interval came, of which the figures are, and `interval_s` how long it was.
    """

    id: str
    board: str
    tags: tuple[str, ...]
    targets: tuple[str, ...]
    online: bool | None
    agent: str | None
    last_seen: float | None
    generation: int
    accepted: int | None
    models: tuple[ModelView, ...] = ()
    samples: tuple[SampleView, ...] = ()
    issues: tuple[str, ...] = ()
    outbox_dropped: int = 0
    reports_missing: int = 0
    measured: float | None = None
    interval_s: float = 0.0
    alarms: tuple[AlarmView, ...] = ()
    known: KnownView | None = None
    settings: SettingsView = SettingsView()
    upgrade: UpgradeView = UpgradeView()

    def is_current(self, now: float) -> bool:
        """Whether the newest figures are those of now."""
        return is_current(self.measured, self.interval_s, now)

    def sample(self, beginning: str) -> SampleView | None:
        """The first sample whose name begins with this."""
        return next((s for s in self.samples if s.name.startswith(beginning)), None)


class NewestModel(Struct, frozen=True):
    """One model in a device's newest interval."""

    model: str
    release: str
    inferences_per_s: float
    p50_us: float | None
    p95_us: float | None
    p99_us: float | None
    energy_uj: float | None
    energy_source: str | None
    energy_relative_uncertainty: float | None = None


class NewestInterval(Struct, frozen=True):
    """What one device measured in its newest interval, and when that came."""

    received: float
    duration_s: float
    models: tuple[NewestModel, ...] = ()
    samples: tuple[SampleView, ...] = ()
    outbox_dropped: int = 0


class NewestFigures(Struct, frozen=True):
    """One device without its history and its twin; the interval only while it is current."""

    device: str
    board: str
    online: bool
    last_seen: float | None
    interval: NewestInterval | None = None

    @property
    def models(self) -> tuple[NewestModel, ...]:
        """Those of the newest interval."""
        return self.interval.models if self.interval else ()

    @property
    def samples(self) -> tuple[SampleView, ...]:
        """Those of the newest interval."""
        return self.interval.samples if self.interval else ()


class EventView(Struct, frozen=True):
    """One line of the audit trail."""

    at: float
    kind: str
    subject: str
    text: str


class Totals(Struct, frozen=True):
    """The whole fleet in figures; those of now are None where no plane runs that could know them."""

    devices: int
    online: int | None
    inferences_per_s: float | None
    p95_us: float | None
    power_w: float | None
    power_sources: tuple[str, ...]
    active_rollouts: int


class Overview(Struct, frozen=True):
    """The fleet at one moment; `devices` may be one page of it, and `next` then names where the next one begins."""

    at: float
    totals: Totals
    devices: tuple[DeviceView, ...]
    rollouts: tuple[RolloutView, ...]
    events: tuple[EventView, ...]
    next: str | None = None
    plane: PlaneView | None = None
