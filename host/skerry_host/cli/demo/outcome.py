"""The result of the demo, read from the registry, and whether it is as expected."""

from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import select

from skerry_agent.wire.sketch import Sketch
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.tables import DeploymentRow
from skerry_host.plane.registry.telemetry.rollup import merged_energy
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry


@dataclass(frozen=True, slots=True)
class Quality:
    """The good release as the gates of its build measured it."""

    metric: str
    float_value: float
    int8_value: float
    samples: int
    float_bytes: int
    int8_bytes: int


@dataclass(frozen=True, slots=True)
class DeviceOutcome:
    """One device at the end: what it runs and what that release has measured on it."""

    id: str
    release: str | None
    inferences: int
    latency_us: dict[str, float | None]
    energy_uj: float | None
    power_source: str
    energy_relative_uncertainty: float | None = None


@dataclass(frozen=True, slots=True)
class DeploymentOutcome:
    """One deployment, as the registry knows it."""

    release: str
    device: str
    outcome: str | None
    reason: str
    transfer: str | None
    bytes: int
    full_bytes: int | None
    seconds: float


@dataclass(slots=True)
class Outcome:
    """Everything, as `make demo JSON=out.json` writes it."""

    build: Quality
    devices: list[DeviceOutcome] = field(default_factory=list)
    deployments: list[DeploymentOutcome] = field(default_factory=list)
    answered_requests: int = 0
    lost_requests: int = 0
    seconds: float = 0.0
    good: str = ""
    bad: str = ""

    @property
    def ok(self) -> bool:
        """Whether every device ended on the good release, by a patch, and rolled back the bad one by itself."""
        patched = [d for d in self.deployments if d.release == self.good]
        refused = [d for d in self.deployments if d.release == self.bad]
        return (
            len(self.devices) == len(patched) == len(refused) > 0
            and all(device.release == self.good for device in self.devices)
            and all(d.outcome == "succeeded" and d.transfer == "patch" for d in patched)
            and all(d.outcome == "rolled_back" and d.reason for d in refused)
            and self.lost_requests == 0
        )

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        data = asdict(self)
        del data["good"], data["bad"]
        build = data["build"]
        build["float"], build["int8"] = build.pop("float_value"), build.pop("int8_value")
        return {"ok": self.ok, **data}


def device_outcome(registry: Registry, device: str, release: str | None) -> DeviceOutcome:
    """All telemetry of a release on a device, merged."""
    with registry.read() as session:
        reports = SqlTelemetry(session).series(device, 0.0, float("inf"), 0)
    parts = [figures for each in reports for figures in each.models if figures.release == release]
    latency = Sketch()
    for part in parts:
        latency = latency.merged(part.latency)
    energy_uj, source, _method, _count, uncertainty = merged_energy((part, part.inferences) for part in parts)
    return DeviceOutcome(
        id=device,
        release=release,
        inferences=sum(part.inferences for part in parts),
        latency_us={name: latency.quantile(q) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))},
        energy_uj=energy_uj,
        power_source=source or "absent",
        energy_relative_uncertainty=uncertainty,
    )


def deployment_outcomes(registry: Registry) -> list[DeploymentOutcome]:
    """Every deployment, in the order in which they were made."""
    with registry.read() as session:
        rows = session.scalars(select(DeploymentRow).order_by(DeploymentRow.created, DeploymentRow.device)).all()
    return [
        DeploymentOutcome(
            row.release,
            row.device,
            row.outcome,
            row.reason,
            row.transfer,
            row.bytes_received,
            row.full_bytes,
            row.seconds,
        )
        for row in rows
    ]
