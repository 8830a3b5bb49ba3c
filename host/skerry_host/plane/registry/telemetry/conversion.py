"""Converts the telemetry of a registry from before roll-ups (schema 5), within the migration that calls it.

A device at a time, and some reports at a time: those of the last day stay reports, all others are rolled up. A report
with numbers that no device measures is left out, and said. Works on the tables of then by statements of then.
"""

import json
import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from skerry_agent.wire.errors import WireError
from skerry_agent.wire.report_forms import decode_report, encode_report
from skerry_agent.wire.sketch import Sketch
from skerry_agent.wire.telemetry import ModelStats, Report, Sample
from skerry_host.plane.registry.telemetry import boots, reading, rolling, rollup
from skerry_host.plane.registry.telemetry.port import Retention, StoredReport
from skerry_host.plane.registry.telemetry.spans import joined, without

PART = 500
"""So many reports are in memory at a time."""

SAY_EVERY_S = 3.0
ENDLESS = 10**9
RETENTION = Retention()

log = logging.getLogger(__name__)


def convert(connection: sa.Connection, now: float) -> None:
    """Convert what is in the tables of before; they are dropped by the caller."""
    devices = connection.scalars(sa.text("SELECT id FROM devices ORDER BY id")).all()
    said = time.monotonic()
    for done, device in enumerate(devices):
        if time.monotonic() - said > SAY_EVERY_S:
            said = time.monotonic()
            log.warning("converting telemetry: %d of %d devices", done, len(devices))
        _Conversion(connection, device, now).run()


class _Conversion:
    """The telemetry of one device."""

    def __init__(self, connection: sa.Connection, device: str, now: float) -> None:
        self._connection, self._device, self._now = connection, device, now
        self._boots = {row["boot"]: row for row in map(self._boot, self._all("receipts"))}
        self._waiting: defaultdict[str, list[int]] = defaultdict(list)
        self._rolled: dict[int, list[rollup.RollUp]] = {tier.period_s: [] for tier in RETENTION.tiers}

    def run(self) -> None:
        """Convert all of it."""
        last: dict[str, Any] | None = None
        for part in _parts(self._connection, self._device):
            rows = [row for row in map(self._packed, part) if row is not None]
            kept = [row for row in rows if row["received"] > self._now - RETENTION.reports_s]
            self._keep(kept)
            for row in kept:
                self._waiting[row["name"]].append(row["sequence"])
            self._roll_up([row for row in rows if row["received"] <= self._now - RETENTION.reports_s])
            last = rows[-1] if rows else last
        if last is not None and last["received"] <= self._now - RETENTION.reports_s:
            self._keep([last])  # the newest is shown, however old
        self._write()

    def _all(self, table: str) -> Sequence[Any]:
        query = sa.text(f"SELECT * FROM {table} WHERE device = :device")  # noqa: S608 - a name of this file
        return self._connection.execute(query, {"device": self._device}).all()

    def _boot(self, row: Any) -> dict[str, Any]:
        spans = tuple((first, last) for first, last in json.loads(row.spans))
        return self._new_boot(row.boot) | {"spans": spans, "closed": row.closed, "touched": row.touched}

    def _new_boot(self, boot: str) -> dict[str, Any]:
        return {
            "id": boots.key(self._device, boot),
            "device": self._device,
            "boot": boot,
            "spans": (),
            "closed": 0,
            "newest": -1,
            "newest_ended": 0.0,
            "zero_by_arrival": self._now,
            "zero_by_clock": None,
            "touched": 0.0,
            "due": self._now,
        }

    def _packed(self, row: tuple[Any, Report]) -> dict[str, Any] | None:
        """The row of one report, which is noted in its boot; None for one that cannot be packed."""
        old, report = row
        try:
            body = encode_report(report)
        except WireError as error:
            log.warning("a report of %s is left out: %s", self._device, error)
            return None
        boot = self._boots.setdefault(old.boot, self._new_boot(old.boot))
        boot["spans"], _ = joined(boot["spans"], (old.sequence,))
        boot["touched"] = max(boot["touched"], old.received)
        zero = old.received - old.uptime_s if old.clock == "device" else old.started + old.duration_s - old.uptime_s
        boot["zero_by_arrival"] = min(boot["zero_by_arrival"], zero)
        if old.sequence > boot["newest"]:
            boot["newest"], boot["newest_ended"] = old.sequence, old.started + old.duration_s
        started = old.started if old.clock == "device" else None
        names = {"boot": boot["id"], "sequence": old.sequence, "started": started, "received": old.received}
        return names | {"body": body, "name": old.boot, "began": old.started}

    def _keep(self, rows: Iterable[dict[str, Any]]) -> None:
        columns = ("boot", "sequence", "started", "received", "body")
        made = [{column: row[column] for column in columns} for row in rows]
        _insert(self._connection, "telemetry_reports", made)

    def _roll_up(self, rows: Sequence[dict[str, Any]]) -> None:
        finest_s = RETENTION.tiers[0].period_s
        finest = rolling.rolled_up(map(self._stored, rows), finest_s)
        for tier in RETENTION.tiers:
            kept = [each for each in finest if each.number * finest_s > self._now - tier.keep_s]
            rolled = self._rolled[tier.period_s]
            rolled[:] = rolling.coarser([*rolled, *rolling.coarser(kept, tier.period_s // finest_s)], 1)

    def _stored(self, row: dict[str, Any]) -> StoredReport:
        interval = reading.interval_of(row["began"], decode_report(row["body"]))
        return StoredReport(self._device, row["name"], row["sequence"], "device", row["received"], interval)

    def _write(self) -> None:
        rows = []
        for name, boot in self._boots.items():
            spans = boot["spans"]
            newest = max(boot["newest"], spans[-1][1] if spans else -1)
            held, _ = joined((), self._waiting[name], ENDLESS)
            packed = {"spans": boots.encode_spans(spans), "rolled_up": boots.encode_spans(without(spans, held))}
            rows.append(boot | packed | {"newest": newest})
        _insert(self._connection, "boots", rows)
        blocks = [
            {"device": self._device, "period_s": period_s, "started": start, "body": rollup.pack_block(block)}
            for period_s, rolled in self._rolled.items()
            for start, block in rolling.by_block(rolled, period_s).items()
        ]
        _insert(self._connection, "telemetry_blocks", blocks)


def _insert(connection: sa.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in rows[0]]
        connection.execute(sa.insert(sa.table(table, *columns)), rows)


def _parts(connection: sa.Connection, device: str) -> Iterator[list[tuple[Any, Report]]]:
    """The reports of a device in the order in which they came, some at a time, each with its row."""
    query = sa.text(
        "SELECT * FROM reports WHERE device = :device AND (received, id) > (:received, :id) "
        "ORDER BY received, id LIMIT :part"
    )
    received, last = -1e300, 0
    while rows := connection.execute(query, {"device": device, "received": received, "id": last, "part": PART}).all():
        received, last = rows[-1].received, rows[-1].id
        yield list(zip(rows, _reports(connection, rows), strict=True))


def _reports(connection: sa.Connection, rows: Sequence[Any]) -> Iterator[Report]:
    stats, samples = _belonging(connection, "model_stats", rows), _belonging(connection, "samples", rows)
    for row in rows:
        yield Report(
            row.device,
            row.boot,
            row.sequence,
            row.started,
            row.uptime_s,
            row.duration_s,
            tuple(map(_stats, stats[row.id])),
            tuple(Sample(each.name, each.value, each.unit, each.source, each.method) for each in samples[row.id]),
            row.outbox_dropped,
        )


def _belonging(connection: sa.Connection, table: str, rows: Sequence[Any]) -> defaultdict[int, list[Any]]:
    query = sa.text(f"SELECT * FROM {table} WHERE report IN :reports")  # noqa: S608 - a name of this file
    found: defaultdict[int, list[Any]] = defaultdict(list)
    parameter: sa.BindParameter[list[int]] = sa.bindparam("reports", [row.id for row in rows], expanding=True)
    for row in connection.execute(query.bindparams(parameter)):
        found[row.report].append(row)
    return found


def _stats(row: Any) -> ModelStats:
    return ModelStats(
        row.model,
        row.release,
        row.inferences,
        row.errors,
        row.invalid_outputs,
        row.dropped,
        msgspec.json.decode(row.latency, type=Sketch),
        row.load_us,
        row.rss_bytes,
        row.energy_uj,
        row.energy_source,
        row.energy_method,
        json.loads(row.outputs) if isinstance(row.outputs, str) else row.outputs,
    )
