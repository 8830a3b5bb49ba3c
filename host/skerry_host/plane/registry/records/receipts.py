"""Which telemetry reports are stored, per device and boot, as ranges of sequence numbers; and which are missing.

Read from the boots, which outlive the reports: those are many and are deleted.
"""

from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from skerry_agent.wire.telemetry import Receipt, Stored
from skerry_host.plane.registry.tables import BootRow
from skerry_host.plane.registry.telemetry.boots import decode_spans
from skerry_host.plane.registry.telemetry.spans import count

MAX_BOOTS = 8
"""A receipt names the boots that a device may still hold reports of: so many, those reported of last."""


def of(session: Session, devices: Iterable[str], since: float = 0.0) -> dict[str, Receipt]:
    """What is stored of some devices' latest boots, of those only that were reported of since a time."""
    place = func.row_number().over(partition_by=BootRow.device, order_by=BootRow.touched.desc()).label("place")
    newest = select(BootRow.device, BootRow.boot, BootRow.spans, place)
    ranked = newest.where(BootRow.device.in_(list(devices)), BootRow.touched >= since).subquery()
    query = select(ranked.c.device, ranked.c.boot, ranked.c.spans).where(ranked.c.place <= MAX_BOOTS)
    boots: defaultdict[str, list[Stored]] = defaultdict(list)
    for device, boot, spans in session.execute(query):
        boots[device].append(Stored(boot, decode_spans(spans)))
    return {device: Receipt(tuple(stored)) for device, stored in boots.items()}


def missing_of_all(session: Session) -> int:
    """The sum of `missing` over the fleet."""
    rows = session.execute(select(BootRow.closed, BootRow.newest, BootRow.spans))
    return sum(closed + newest + 1 - count(decode_spans(spans)) for closed, newest, spans in rows)


def missing(session: Session, devices: Iterable[str]) -> dict[str, int]:
    """How many reports were made before others that are stored, and are not: lost, or still on the device."""
    found: defaultdict[str, int] = defaultdict(int)
    query = select(BootRow.device, BootRow.closed, BootRow.newest, BootRow.spans)
    for device, closed, newest, spans in session.execute(query.where(BootRow.device.in_(list(devices)))):
        found[device] += closed + newest + 1 - count(decode_spans(spans))
    return found
