"""What is shown of a fleet, to commands, the HTTP interface and the page alike. Plain data with units in the names.

Times are seconds since 1970. Absent is None. Made by `gather`; holds no queries.
"""

from msgspec import Struct


class SampleView(Struct, frozen=True):
    """One measurement, with unit and source."""

    name: str
    value: float
    unit: str
    source: str
    method: str


class Point(Struct, frozen=True):
    """One interval of one model: rates are per second of that interval."""

    at: float
    release: str
    inferences_per_s: float
    p50_us: float | None
    p95_us: float | None
    p99_us: float | None
    energy_uj: float | None


class DeploymentView(Struct, frozen=True):
    """One device's attempt; `state` is "waiting" before the device has spoken of it.

    `ways` are how its pieces came, in the order of their first use: retained, asked, http, folder.
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
    ways: str = ""


class RolloutView(Struct, frozen=True):
    """A rollout with its deployments."""

    id: str
    release: str
    selection: str
    state: str
    reason: str
    created: float
    ended: float | None
    deployments: tuple[DeploymentView, ...] = ()

    def count(self, outcome: str | None) -> int:
        """How many deployments have an outcome (None: are open)."""
        return sum(d.outcome == outcome for d in self.deployments)

    @property
    def bytes_received(self) -> int:
        """What all devices received for it."""
        return sum(d.bytes_received for d in self.deployments)

    @property
    def full_bytes(self) -> int:
        """What the full artifacts would have been for the devices that received anything."""
        return sum(d.full_bytes for d in self.deployments if d.bytes_received)


class ModelView(Struct, frozen=True):
    """One model on one device; figures are of the newest interval, `points` oldest first.

    `attempted`, `outcome` and `reason` are the device's latest attempt, `wanted` is what the host wants.
    """

    model: str
    release: str | None
    previous: str | None
    wanted: str | None
    state: str
    serving: bool
    attempted: str | None = None
    outcome: str | None = None
    reason: str = ""
    inferences: int | None = None
    errors: int | None = None
    energy_source: str | None = None
    energy_method: str = ""
    rss_bytes: int | None = None
    points: tuple[Point, ...] = ()

    @property
    def astray(self) -> bool:
        """Whether it settled on something else than what the host wants: it went back by itself, or on the spot."""
        return self.wanted is not None and self.wanted != self.release and self.state == "idle"

    @property
    def newest(self) -> Point | None:
        """The newest interval with inferences of the release that runs, else the newest."""
        mine = [p for p in self.points if p.release == self.release and p.p50_us is not None] or self.points
        return mine[-1] if mine else None


class DeviceView(Struct, frozen=True):
    """One device; `generation` is what the host wants, `accepted` what the device has taken over.

    `reports_missing` are not here, though later ones are: lost, or still on the device. `outbox_dropped` were given up
    there.
    """

    id: str
    board: str
    tags: tuple[str, ...]
    targets: tuple[str, ...]
    online: bool
    agent: str | None
    last_seen: float | None
    generation: int
    accepted: int | None
    models: tuple[ModelView, ...] = ()
    samples: tuple[SampleView, ...] = ()
    issues: tuple[str, ...] = ()
    outbox_dropped: int = 0
    reports_missing: int = 0

    def sample(self, beginning: str) -> SampleView | None:
        """The first sample whose name begins so."""
        return next((s for s in self.samples if s.name.startswith(beginning)), None)


class EventView(Struct, frozen=True):
    """One line of the audit trail."""

    at: float
    kind: str
    subject: str
    text: str


class Totals(Struct, frozen=True):
    """The whole fleet in figures."""

    devices: int
    online: int
    inferences_per_s: float
    p95_us: float | None
    power_w: float | None
    power_sources: tuple[str, ...]
    active_rollouts: int


class Overview(Struct, frozen=True):
    """All of it; `devices` may be one page of the fleet."""

    at: float
    totals: Totals
    devices: tuple[DeviceView, ...]
    rollouts: tuple[RolloutView, ...]
    events: tuple[EventView, ...]
