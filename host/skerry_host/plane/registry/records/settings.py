"""What is set on each device from afar: the newest order, what became of it, and those before. Signs nothing.

All values come from a person's commands. What a device says chooses only which of the host's own orders is gone on
from: the newest, or after one that has failed, the one that the device says it has kept.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from skerry_agent.wire.settings import Outcome, SettingsOrder, SettingsReport
from skerry_host.plane.registry.records.parts import parts
from skerry_host.plane.registry.tables import SettingsRow
from skerry_host.text import MOST, clean

REMEMBERED = 8
"""So many orders of a device are kept, the newest, and beside them the one that the device says it has kept."""

FAILED = frozenset({"rolled_back", "refused"})
MOST_CODE = 64

log = logging.getLogger(__name__)


class PastOrder(msgspec.Struct, frozen=True):
    """An order, and all that it has set."""

    id: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is set on a device. `outcome` is None until the device has said something of the newest order."""

    device: str
    newest: PastOrder
    orders: tuple[PastOrder, ...]
    kept: str
    trial_s: float
    signed: bool
    outcome: str | None
    code: str
    detail: str
    ordered: float
    heard: float | None

    @property
    def base(self) -> PastOrder | None:
        """The order whose values hold, and that a new one goes on from; None where that is agent.toml alone."""
        goes_on_from = self.newest.id if self.outcome not in FAILED else self.kept
        return next((each for each in self.orders if each.id == goes_on_from), None)


def of(session: Session, devices: Iterable[str]) -> dict[str, Wanted]:
    """What is set on some devices, of those on which anything ever was."""
    return {row.device: _wanted(row) for row in rows(session, devices)}


def find(session: Session, device: str) -> Wanted | None:
    """What is set on a device; None where nothing ever was."""
    row = session.get(SettingsRow, device)
    return _wanted(row) if row is not None else None


def rows(session: Session, devices: Iterable[str]) -> list[SettingsRow]:
    """The rows of some devices: while they are held, a session need not look for them again."""
    query = select(SettingsRow)
    return [row for part in parts(devices) for row in session.scalars(query.where(SettingsRow.device.in_(part)))]


def put(session: Session, device: str, order: SettingsOrder, before: Wanted | None, now: float) -> None:
    """Set all these values on a device, in the place of those `before`; its desired state has yet to say so."""
    orders = _remembered(before, PastOrder(order.id, order.values))
    row = session.get(SettingsRow, device) if before is not None else None
    if row is None:
        row = SettingsRow(device=device, kept="")
        session.add(row)
    row.order_id, row.orders, row.trial_s = order.id, msgspec.json.encode(orders), order.trial_s
    row.signed, row.outcome, row.code, row.detail, row.ordered, row.heard = False, None, "", "", now, None


def _remembered(before: Wanted | None, order: PastOrder) -> tuple[PastOrder, ...]:
    """However many have failed since, the one that holds on the device is not forgotten: the next goes on from it."""
    if before is None:
        return (order,)
    newest = before.orders[1 - REMEMBERED :]
    kept = [each for each in before.orders if each.id == before.kept and each not in newest]
    return (*kept, *newest, order)


def unsigned(session: Session, most: int) -> list[str]:
    """Some devices whose desired state does not say yet what is set on them."""
    query = select(SettingsRow.device).where(SettingsRow.signed.is_(False)).order_by(SettingsRow.device)
    return list(session.scalars(query.limit(most)))


def note_signed(session: Session, device: str) -> None:
    """Its desired state says it."""
    session.get_one(SettingsRow, device).signed = True


def order(session: Session, device: str) -> SettingsOrder | None:
    """What a desired state that is signed now says: one that has failed is in none, so that nothing tries it again."""
    wanted = find(session, device)
    base = wanted.base if wanted is not None else None
    return SettingsOrder(base.id, base.values, wanted.trial_s) if wanted is not None and base is not None else None


def apply_report(session: Session, device: str, report: SettingsReport, now: float) -> Outcome | None:
    """Store what a device says of its settings; the outcome, if this report is the one that has brought it."""
    row = session.get(SettingsRow, device) if report.id else None
    if row is None:
        return None
    if report.kept != row.kept:
        row.kept = report.kept
    if row.order_id != report.id or report.outcome == "none":
        return None
    known = row.outcome, row.code, row.detail
    said = report.outcome, clean(report.code, MOST_CODE), clean(report.detail, MOST)
    if known == said:
        return None
    row.outcome, row.code, row.detail = said
    row.heard = now
    return report.outcome


def trial_s(session: Session, device: str) -> float:
    """How long the newest order may be tried, of a device on which something is set."""
    return session.get_one(SettingsRow, device).trial_s


def refuse(session: Session, device: str, code: str, detail: str, now: float) -> bool:
    """The message that says it was refused; True if nothing was heard of the order yet, and this ends it."""
    row = session.get(SettingsRow, device)
    if row is None or not row.signed or row.outcome is not None:
        return False
    row.outcome, row.code, row.detail, row.heard = "refused", code, detail, now
    return True


def _wanted(row: SettingsRow) -> Wanted:
    orders = _orders(row)
    newest = next((each for each in orders if each.id == row.order_id), PastOrder(row.order_id, {}))
    return Wanted(
        row.device,
        newest,
        orders,
        row.kept,
        row.trial_s,
        row.signed,
        row.outcome,
        row.code,
        row.detail,
        row.ordered,
        row.heard,
    )


def _orders(row: SettingsRow) -> tuple[PastOrder, ...]:
    """None where they are damaged: then nothing is said of settings, and the device keeps what it has."""
    try:
        return tuple(msgspec.json.decode(row.orders, type=list[PastOrder]))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("what is set on %s is damaged in the registry: %s", row.device, error)
        return ()
