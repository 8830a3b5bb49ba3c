"""The tables of the registry, as SQLAlchemy 2 typed rows. No queries and no rules: those are in `records`.

Times are seconds since 1970 (float). What was signed is kept as the exact bytes that were signed. The migrations in
`migrations/` make these tables; a test holds the two together.
"""

from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Index, Integer, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map: ClassVar = {
        str: Text,
        int: BigInteger,
        float: Float(53),
        bytes: LargeBinary,
        dict[str, Any]: JSON,
        list[str]: JSON,
    }


class DeviceRow(Base):
    """An enrolled device."""

    __tablename__ = "devices"
    id: Mapped[str] = mapped_column(String(41), primary_key=True)
    board: Mapped[str]
    tags: Mapped[list[str]]
    targets: Mapped[list[str]]
    created: Mapped[float]


class GroupRow(Base):
    """A named selection of devices."""

    __tablename__ = "groups"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    where: Mapped[str]
    created: Mapped[float]


class TwinRow(Base):
    """A device's desired and reported state; `settled` when it needs no blob for the desired one."""

    __tablename__ = "twins"
    device: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    generation: Mapped[int] = mapped_column(default=0)
    settled: Mapped[bool] = mapped_column(default=True, index=True)
    desired: Mapped[bytes | None]
    envelope: Mapped[bytes | None]
    reported: Mapped[bytes | None]
    reported_boot: Mapped[str | None]
    reported_sequence: Mapped[int | None]
    reported_at: Mapped[float | None]
    online: Mapped[bool] = mapped_column(default=False)
    state_boot: Mapped[str | None]
    state_sequence: Mapped[int | None]
    state_at: Mapped[float | None]
    agent: Mapped[str | None]
    last_seen: Mapped[float | None]


class RolloutRow(Base):
    """A group moving to a release."""

    __tablename__ = "rollouts"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    release: Mapped[str]
    selection: Mapped[str]
    policy: Mapped[bytes]
    state: Mapped[str] = mapped_column(String(16), index=True)
    reason: Mapped[str] = mapped_column(default="")
    created: Mapped[float]
    ended: Mapped[float | None]


class DeploymentRow(Base):
    """One device's attempt. `fallback` is the assignment (JSON) to return to when the host closes it.

    `transports` are those that its bytes came by, separated by commas.
    """

    __tablename__ = "deployments"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str | None] = mapped_column(ForeignKey("rollouts.id"), index=True)
    device: Mapped[str] = mapped_column(ForeignKey("devices.id"), index=True)
    model: Mapped[str]
    release: Mapped[str]
    target: Mapped[str]
    wave: Mapped[int] = mapped_column(default=0)
    state: Mapped[str | None]
    outcome: Mapped[str | None]
    reason: Mapped[str] = mapped_column(default="")
    detail: Mapped[str] = mapped_column(default="")
    transfer: Mapped[str | None]
    transports: Mapped[str] = mapped_column("ways", default="")
    bytes_received: Mapped[int] = mapped_column(default=0)
    bytes_expected: Mapped[int] = mapped_column(default=0)
    full_bytes: Mapped[int] = mapped_column(default=0)
    seconds: Mapped[float] = mapped_column(default=0.0)
    attempts: Mapped[int] = mapped_column(default=0)
    gap_us: Mapped[float | None]
    fallback: Mapped[bytes | None]
    created: Mapped[float]
    sent: Mapped[float | None]
    heard: Mapped[float | None]
    ended: Mapped[float | None]


class OrderRow(Base):
    """A command to one device. States: pending, sent, answered, done, failed. `seconds` are those of a watch."""

    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    device: Mapped[str] = mapped_column(ForeignKey("devices.id"), index=True)
    kind: Mapped[str]
    model: Mapped[str | None]
    state: Mapped[str] = mapped_column(String(16), index=True)
    detail: Mapped[str] = mapped_column(default="")
    sequence: Mapped[int | None]
    seconds: Mapped[float | None]
    before: Mapped[bytes | None]
    envelope: Mapped[bytes | None]
    created: Mapped[float]
    sent: Mapped[float | None]
    answered: Mapped[float | None]
    ended: Mapped[float | None]


class ReportRow(Base):
    """One interval of telemetry; (device, boot, sequence) is its identity.

    `started` is the device's word (`clock` device) or, where its clock cannot be right, the host's estimate (host).
    """

    __tablename__ = "reports"
    __table_args__ = (
        UniqueConstraint("device", "boot", "sequence"),
        Index("ix_reports_device_received", "device", "received"),
    )
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    device: Mapped[str] = mapped_column(ForeignKey("devices.id"))
    boot: Mapped[str]
    sequence: Mapped[int]
    started: Mapped[float]
    uptime_s: Mapped[float]
    duration_s: Mapped[float]
    clock: Mapped[str] = mapped_column(String(8), default="device")
    outbox_dropped: Mapped[int]
    received: Mapped[float] = mapped_column(index=True)


class ReceiptRow(Base):
    """Which reports of one boot are stored: ranges (JSON) of sequence numbers, in order, with gaps between them.

    `closed` counts the reports in gaps that were given up because there were too many; `touched` is the last update.
    """

    __tablename__ = "receipts"
    device: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    boot: Mapped[str] = mapped_column(primary_key=True)
    spans: Mapped[bytes]
    closed: Mapped[int] = mapped_column(default=0)
    touched: Mapped[float] = mapped_column(index=True)


class ModelStatsRow(Base):
    """One model in a report. `latency` is the sketch as JSON; the quantiles beside it are read from it once."""

    __tablename__ = "model_stats"
    report: Mapped[int] = mapped_column(ForeignKey("reports.id", ondelete="CASCADE"), primary_key=True)
    model: Mapped[str] = mapped_column(String(64), primary_key=True)
    release: Mapped[str] = mapped_column(String(120), primary_key=True)
    inferences: Mapped[int]
    errors: Mapped[int]
    invalid_outputs: Mapped[int]
    dropped: Mapped[int]
    latency: Mapped[bytes]
    p50_us: Mapped[float | None]
    p95_us: Mapped[float | None]
    p99_us: Mapped[float | None]
    load_us: Mapped[float | None]
    rss_bytes: Mapped[int | None]
    energy_uj: Mapped[float | None]
    energy_source: Mapped[str | None]
    energy_method: Mapped[str]
    outputs: Mapped[dict[str, Any]]


class SampleRow(Base):
    """One measurement in a report, with unit and source."""

    __tablename__ = "samples"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    report: Mapped[int] = mapped_column(ForeignKey("reports.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    value: Mapped[float]
    unit: Mapped[str]
    source: Mapped[str]
    method: Mapped[str]


class BlobRow(Base):
    """A blob whose chunks are retained by the broker, so that they can be cleared after a restart."""

    __tablename__ = "blobs"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    chunks: Mapped[int]
    digests: Mapped[bool]
    published: Mapped[float]


class EventRow(Base):
    """Something that happened, for people and audits: who or what, and one line."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[float] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str]
    text: Mapped[str]
