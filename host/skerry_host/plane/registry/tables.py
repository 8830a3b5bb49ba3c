"""The tables of the registry, as SQLAlchemy 2 typed rows. No queries and no rules: those are in `records`.

Times are seconds since 1970 (float). What was signed is kept as the exact bytes that were signed. The migrations in
`migrations/` make these tables; a test holds the two together.
"""

from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Index, Integer, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

BIG_KEY = BigInteger().with_variant(Integer, "sqlite")
"""A key of 64 bits that is SQLite's own row number."""


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
    """A device: the record that the host has of it, which may be older than the board that is to be it.

    `claim` is the number of the claim that its board enrols by, and `hardware_serial` tells which board that is.
    """

    __tablename__ = "devices"
    id: Mapped[str] = mapped_column(String(41), primary_key=True)
    board: Mapped[str]
    tags: Mapped[list[str]]
    targets: Mapped[list[str]]
    created: Mapped[float]
    hardware_serial: Mapped[str | None]
    claim: Mapped[int | None] = mapped_column(index=True)


class IdentityRow(Base):
    """What proves who a device is; one that is known the old way has none, or one without a key once it is revoked.

    `incarnation` names the state folder that enrolled. `reason` says why it was revoked.
    """

    __tablename__ = "identities"
    device: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    key_sha256: Mapped[str | None] = mapped_column(String(64), index=True, unique=True)
    incarnation: Mapped[str | None] = mapped_column(String(32))
    birth_key_sha256: Mapped[str | None] = mapped_column(String(64))
    enrolled: Mapped[float | None]
    revoked: Mapped[float | None]
    reason: Mapped[str] = mapped_column(default="")
    retired: Mapped[float | None]


class CertificateRow(Base):
    """A certificate that was issued; `serial` in hex. `pem` is kept where the same may be asked for again."""

    __tablename__ = "certificates"
    serial: Mapped[str] = mapped_column(String(40), primary_key=True)
    principal: Mapped[str] = mapped_column(String(64), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    key_sha256: Mapped[str] = mapped_column(String(64))
    not_after: Mapped[float]
    revoked: Mapped[float | None]
    pem: Mapped[bytes | None]


class ClaimRow(Base):
    """A certificate by which so many boards may ask to be enrolled; `device` where it is for the board of one record.

    `closed` by a person, or because it was misused: nothing is heard of it any more. One that is used up is heard: a
    board may not have got its answer.
    """

    __tablename__ = "claims"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(64))
    board: Mapped[str]
    tags: Mapped[list[str]]
    created: Mapped[float]
    expires: Mapped[float]
    count: Mapped[int]
    used: Mapped[int] = mapped_column(default=0)
    closed: Mapped[float | None]
    device: Mapped[str | None] = mapped_column(ForeignKey("devices.id"))


class PendingRow(Base):
    """A board that has asked and has no identity: its newest request, of which everything but `claim` is its own word.

    `approved` is the device that a person has said it is, in place of its former board if `replace` says so; the plane
    does that. `denied` is when a person said that it is none.
    """

    __tablename__ = "pending"
    key_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    code: Mapped[str] = mapped_column(String(16), index=True)
    claim: Mapped[str] = mapped_column(String(64), index=True)
    serial: Mapped[str]
    board: Mapped[str]
    agent: Mapped[str]
    incarnation: Mapped[str] = mapped_column(String(32))
    nonce: Mapped[str] = mapped_column(String(32))
    csr: Mapped[bytes]
    birth_csr: Mapped[bytes | None]
    first: Mapped[float]
    last: Mapped[float]
    denied: Mapped[float | None]
    approved: Mapped[str | None] = mapped_column(String(41))
    replace: Mapped[bool] = mapped_column(default=False)


class GroupRow(Base):
    """A named selection of devices."""

    __tablename__ = "groups"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    where: Mapped[str]
    created: Mapped[float]


class TwinRow(Base):
    """A device's desired and reported state; `settled` when it needs no blob for the desired one.

    `changed` is the number of its last change, given by a trigger (`ChangeRow`).
    """

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
    changed: Mapped[int] = mapped_column(server_default="0", index=True)


class RolloutRow(Base):
    """A group moving to a release, and to a `runtime`: its name, `base`, or empty where each device keeps its own.

    `admission` (JSON): who was left out as it was started, and why.
    """

    __tablename__ = "rollouts"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    release: Mapped[str]
    selection: Mapped[str]
    policy: Mapped[bytes]
    state: Mapped[str] = mapped_column(String(16), index=True)
    reason: Mapped[str] = mapped_column(default="")
    created: Mapped[float]
    ended: Mapped[float | None]
    admission: Mapped[bytes | None]
    runtime: Mapped[str] = mapped_column(default="", server_default="")


class DeploymentRow(Base):
    """One device's attempt. `fallback` is the assignment (JSON) to return to when the host closes it.

    `transports` are those that its bytes came by, separated by commas. `changed` is as a twin's. `runtime` is the name
    of what it runs with, empty for the base environment's.
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
    changed: Mapped[int] = mapped_column(server_default="0", index=True)
    runtime: Mapped[str] = mapped_column(default="", server_default="")


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


class BootRow(Base):
    """One boot of a device: which of its reports are stored, which are rolled up, and when it began.

    `spans` are ranges (JSON) of sequence numbers that are stored or were, in order, with gaps between them; `rolled_up`
    those that are in the roll-ups. `closed` counts the reports in gaps that were given up because there were too many.
    `newest` is the highest sequence, `newest_ended` when its interval ended. Where the device's clock is not set, its
    monotonic clock stood at 0 at the earlier of `zero_by_arrival` and `zero_by_clock`. `due` is when there is something
    to roll up or to delete. The id is derived from device and boot, so that it need not be looked up.
    """

    __tablename__ = "boots"
    __table_args__ = (Index("ix_boots_device_newest_ended", "device", "newest_ended"),)
    id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True, autoincrement=False)
    device: Mapped[str] = mapped_column(ForeignKey("devices.id"))
    boot: Mapped[str]
    spans: Mapped[bytes]
    rolled_up: Mapped[bytes]
    closed: Mapped[int]
    newest: Mapped[int]
    newest_ended: Mapped[float]
    zero_by_arrival: Mapped[float]
    zero_by_clock: Mapped[float | None]
    touched: Mapped[float]
    due: Mapped[float] = mapped_column(index=True)


class ReportRow(Base):
    """One interval of telemetry; (boot, sequence) is its identity, and its place on the disk.

    `started` is the device's word, absent where its clock cannot be right. The body is the report's packed form.
    """

    __tablename__ = "telemetry_reports"
    __table_args__ = ({"sqlite_with_rowid": False},)
    boot: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    started: Mapped[float | None]
    received: Mapped[float]
    body: Mapped[bytes]


class BlockRow(Base):
    """Some consecutive roll-ups of a device, from `started` on; `telemetry.rollup` reads the body."""

    __tablename__ = "telemetry_blocks"
    __table_args__ = (
        UniqueConstraint("device", "period_s", "started"),
        Index("ix_telemetry_blocks_period_s_started", "period_s", "started"),
    )
    id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True)
    device: Mapped[str] = mapped_column(ForeignKey("devices.id"))
    period_s: Mapped[int]
    started: Mapped[int]
    body: Mapped[bytes]


class BlobRow(Base):
    """A blob whose chunks are retained by the broker, so that they can be cleared after a restart."""

    __tablename__ = "blobs"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    chunks: Mapped[int]
    digests: Mapped[bool]
    published: Mapped[float]


class ChangeRow(Base):
    """How often records of a kind have changed; counted by triggers, which the migrations make."""

    __tablename__ = "changes"
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    number: Mapped[int]


class AlarmRow(Base):
    """What a person must look at, of a device and a kind, while it lasts (`records.alarms`)."""

    __tablename__ = "alarms"
    device: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    since: Mapped[float]
    last: Mapped[float]
    text: Mapped[str]


class MoveRow(Base):
    """A device of the old way that is offered an identity, until it has come with it (`records.moves`).

    `offer` is the wire's, empty once it is withdrawn, and `signed` whether the device's desired state says so; `claim`
    the number of the claim by which whoever takes it is enrolled, of which there is no certificate.
    """

    __tablename__ = "moves"
    device: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    claim: Mapped[int]
    offer: Mapped[bytes]
    signed: Mapped[bool]


class SettingsRow(Base):
    """What is set on a device from afar (`records.settings`).

    `orders` (JSON) are the newest ones with their values, the last of which is `order_id`; `kept` is the one whose
    values the device says that it has. `signed`: its desired state says so. `outcome` is what became of `order_id`.
    """

    __tablename__ = "settings"
    device: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    order_id: Mapped[str] = mapped_column(String(64))
    orders: Mapped[bytes]
    kept: Mapped[str] = mapped_column(String(64), default="")
    trial_s: Mapped[float]
    signed: Mapped[bool] = mapped_column(default=False, index=True)
    outcome: Mapped[str | None] = mapped_column(String(16))
    code: Mapped[str] = mapped_column(default="")
    detail: Mapped[str] = mapped_column(default="")
    ordered: Mapped[float]
    heard: Mapped[float | None]


class HeartbeatRow(Base):
    """The plane that serves this registry: one row, renewed every few seconds (`records.heartbeats`)."""

    __tablename__ = "heartbeats"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[float]
    ticked: Mapped[float]
    started: Mapped[float]
    stopped: Mapped[float | None]
    instance: Mapped[str] = mapped_column(String(32))
    pid: Mapped[int]
    host: Mapped[str]
    boot: Mapped[str]
    version: Mapped[str]


class EventRow(Base):
    """Something that happened, for people and audits: who or what, and one line."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[float] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str]
    text: Mapped[str]
