"""Which telemetry reports are stored, per device and boot, as ranges of sequence numbers; and which are missing.

Kept in a separate table, because the reports themselves are many and are pruned.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from skerry_agent.wire import codec
from skerry_agent.wire.telemetry import Receipt, Report, Span, Stored
from skerry_host.plane.registry.tables import ReceiptRow

MAX_SPANS = 200
"""With more gaps than this, the oldest gap is closed: its reports count as lost."""

MAX_BOOTS = 8
"""A receipt names the boots that a device may still hold reports of: so many, those reported of last."""


def mark_stored(session: Session, reports: Sequence[Report], now: float) -> None:
    """These reports are stored, now or before."""
    reported: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for report in reports:
        reported[report.device, report.boot].add(report.sequence)
    known = _rows(session, reported)
    for (device, boot), sequences in reported.items():
        row = known.get((device, boot))
        if row is None:
            row = ReceiptRow(device=device, boot=boot, spans=b"[]", closed=0)
            session.add(row)
        spans, closed = joined(_spans(row), sequences)
        row.spans, row.closed, row.touched = codec.encode(spans), row.closed + closed, now


def of(session: Session, devices: Iterable[str], since: float = 0.0) -> dict[str, Receipt]:
    """What is stored of some devices' latest boots, of those only that were reported of since a time."""
    place = func.row_number().over(partition_by=ReceiptRow.device, order_by=ReceiptRow.touched.desc()).label("place")
    newest = select(ReceiptRow.device, ReceiptRow.boot, ReceiptRow.spans, place)
    ranked = newest.where(ReceiptRow.device.in_(list(devices)), ReceiptRow.touched >= since).subquery()
    query = select(ranked.c.device, ranked.c.boot, ranked.c.spans).where(ranked.c.place <= MAX_BOOTS)
    boots: defaultdict[str, list[Stored]] = defaultdict(list)
    for device, boot, spans in session.execute(query):
        boots[device].append(Stored(boot, codec.decode(spans, tuple[Span, ...])))
    return {device: Receipt(tuple(stored)) for device, stored in boots.items()}


def missing(session: Session, devices: Iterable[str]) -> dict[str, int]:
    """How many reports were made before others that are stored, and are not: lost, or still on the device."""
    found: defaultdict[str, int] = defaultdict(int)
    for row in session.scalars(select(ReceiptRow).where(ReceiptRow.device.in_(list(devices)))):
        spans = _spans(row)
        stored = sum(last - first + 1 for first, last in spans)
        found[row.device] += row.closed + (spans[-1][1] + 1 - stored if spans else 0)
    return found


def prune(session: Session, before: float) -> None:
    """Forget boots of which nothing was reported since."""
    session.execute(delete(ReceiptRow).where(ReceiptRow.touched < before))


def joined(spans: Sequence[Span], sequences: Iterable[int], most: int = MAX_SPANS) -> tuple[tuple[Span, ...], int]:
    """The spans with some sequences in them, in order and apart; and how many lay in holes that were closed."""
    made: list[Span] = []
    for first, last in sorted([*spans, *((each, each) for each in sequences)]):
        if made and first <= made[-1][1] + 1:
            made[-1] = made[-1][0], max(last, made[-1][1])
        else:
            made.append((first, last))
    closed = 0
    while len(made) > most:
        (first, end), (begin, last) = made[:2]
        made[:2] = [(first, last)]
        closed += begin - end - 1
    return tuple(made), closed


def _rows(session: Session, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], ReceiptRow]:
    devices, boots = {device for device, _ in keys}, {boot for _, boot in keys}
    query = select(ReceiptRow).where(ReceiptRow.device.in_(devices), ReceiptRow.boot.in_(boots))
    return {(row.device, row.boot): row for row in session.scalars(query)}


def _spans(row: ReceiptRow) -> tuple[Span, ...]:
    return codec.decode(row.spans, tuple[Span, ...])
