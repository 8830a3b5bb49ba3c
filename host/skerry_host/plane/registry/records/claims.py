"""Claims, by which boards may ask to be enrolled, and the boards that have asked and wait. Decides nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from skerry_agent.wire.enrolment import claim_name
from skerry_host.plane.errors import UnknownError
from skerry_host.plane.registry.tables import CertificateRow, ClaimRow, DeviceRow, PendingRow


@dataclass(frozen=True, slots=True)
class Claim:
    """So many boards may enrol by it until it expires; `device`: only the board of that record."""

    number: int
    name: str
    board: str
    tags: tuple[str, ...]
    created: float
    expires: float
    count: int
    used: int
    closed: float | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A claim that is to be made; what `Claim` says of each field."""

    board: str
    tags: tuple[str, ...]
    expires: float
    count: int
    device: str | None = None


def add(session: Session, wanted: Wanted, now: float) -> Claim:
    """Keep a new claim; its number is above that of every one before."""
    number = (session.scalar(select(func.max(ClaimRow.number))) or 0) + 1
    row = ClaimRow(
        number=number,
        name=claim_name(number),
        board=wanted.board,
        tags=sorted(wanted.tags),
        created=now,
        expires=wanted.expires,
        count=wanted.count,
        used=0,
        device=wanted.device,
    )
    session.add(row)
    session.flush()
    return _claim(row)


def find(session: Session, name: str) -> Claim | None:
    """The claim with this name, such as `@claim-7`."""
    row = session.scalar(select(ClaimRow).where(ClaimRow.name == name))
    return _claim(row) if row is not None else None


def all_claims(session: Session) -> list[Claim]:
    """All claims, the newest first."""
    return [_claim(row) for row in session.scalars(select(ClaimRow).order_by(ClaimRow.number.desc()))]


def use(session: Session, number: int) -> None:
    """One more board has enrolled by it."""
    session.get_one(ClaimRow, number).used += 1


def close(session: Session, number: int, now: float) -> None:
    """Nothing is heard of it any more, and its certificate is revoked; raises `UnknownError`."""
    row = session.get(ClaimRow, number)
    if row is None:
        hint = "`skerry device claims` lists them"
        raise UnknownError(f"there is no claim {number}", hint=hint, code="no_claim")
    _close(session, row, now)


def close_if_there(session: Session, number: int, now: float) -> None:
    """The same of a claim that another row names: where that is damaged, there is nothing to close."""
    row = session.get(ClaimRow, number)
    if row is not None:
        _close(session, row, now)


def close_all_for(session: Session, device: str, now: float) -> None:
    """The same of each claim that is for the board of this record only."""
    for row in session.scalars(select(ClaimRow).where(ClaimRow.device == device, ClaimRow.closed.is_(None))).all():
        _close(session, row, now)


def _close(session: Session, row: ClaimRow, now: float) -> None:
    """Without its certificate whoever has a copy cannot even hold a connection."""
    row.closed = row.closed or now
    living = (CertificateRow.principal == row.name, CertificateRow.revoked.is_(None))
    session.execute(update(CertificateRow).where(*living).values(revoked=now))


def record_with_serial(session: Session, number: int, serial: str) -> str | None:
    """The device whose record in this claim names a board's hardware serial; None when there is not exactly one.

    In small or capital letters: a label on a box has often others than the board's own memory.
    """
    if not serial:
        return None
    same = func.lower(DeviceRow.hardware_serial) == func.lower(serial)
    query = select(DeviceRow.id).where(DeviceRow.claim == number, same)
    found = session.scalars(query.limit(2)).all()
    return found[0] if len(found) == 1 else None


def set_claim(session: Session, device: str, number: int | None, serial: str | None = None) -> None:
    """The board of a record enrols by this claim; `serial` says which board that is, where that is known."""
    row = session.get_one(DeviceRow, device)
    row.claim = number
    row.hardware_serial = serial or row.hardware_serial


# -- boards that wait --------------------------------------------------------------------------------------------------


def wait(session: Session, row: PendingRow) -> None:
    """Keep a board's request, in place of its former one; when it asked first and what was decided of it stay."""
    before = session.get(PendingRow, row.key_sha256)
    if before is not None:
        row.first, row.denied, row.approved, row.replace = before.first, before.denied, before.approved, before.replace
    session.merge(row)


def waiting(session: Session) -> Sequence[PendingRow]:
    """All that wait, and those that were denied, in the order of their first request."""
    return session.scalars(select(PendingRow).order_by(PendingRow.first, PendingRow.key_sha256)).all()


def approved(session: Session) -> Sequence[PendingRow]:
    """Those that a person has approved, and the plane has not enrolled yet."""
    return session.scalars(select(PendingRow).where(PendingRow.approved.is_not(None)).order_by(PendingRow.first)).all()


def find_waiting(session: Session, key_sha256: str) -> PendingRow | None:
    """The board with this key, if it waits."""
    return session.get(PendingRow, key_sha256)


def by_code(session: Session, code: str) -> PendingRow:
    """The one board that waits with this code; raises `UnknownError`."""
    found = session.scalars(select(PendingRow).where(PendingRow.code == code).limit(2)).all()
    if not found:
        hint = "`skerry device pending` lists them; a board says its code where it runs"
        raise UnknownError(f"no board waits with the code {code}", hint=hint, code="no_code")
    if len(found) > 1:
        hint = "deny both: a board that makes its state folder anew gets another code"
        raise UnknownError(f"several boards wait with the code {code}: one is made to look alike", hint=hint)
    return found[0]


def waiting_count(session: Session, claim: str) -> int:
    """How many wait by one claim, those that were denied among them."""
    return session.scalar(select(func.count()).select_from(PendingRow).where(PendingRow.claim == claim)) or 0


def waiting_counts(session: Session) -> Counter[str]:
    """The same of every claim by which any board waits."""
    query = select(PendingRow.claim, func.count()).group_by(PendingRow.claim)
    return Counter(dict(session.execute(query).all()))


def approve(session: Session, key_sha256: str, device: str, *, replace: bool) -> None:
    """A person has said which device a board is; the plane does it."""
    row = session.get_one(PendingRow, key_sha256)
    row.approved, row.replace, row.denied = device, replace, None


def unapprove(session: Session, device: str) -> None:
    """Whoever was approved to be this device waits again."""
    mine = update(PendingRow).where(PendingRow.approved == device)
    session.execute(mine.values(approved=None, replace=False))


def deny(session: Session, key_sha256: str, now: float) -> None:
    """A person has said that a board is none of the fleet's."""
    row = session.get_one(PendingRow, key_sha256)
    row.approved, row.replace, row.denied = None, False, now


def forget(session: Session, key_sha256: str) -> None:
    """A board waits no longer."""
    session.execute(delete(PendingRow).where(PendingRow.key_sha256 == key_sha256))


def forget_silent(session: Session, before: float) -> int:
    """Forget the boards that have not asked since; how many these were."""
    gone = session.execute(delete(PendingRow).where(PendingRow.last < before).returning(PendingRow.key_sha256))
    return len(gone.all())


def _claim(row: ClaimRow) -> Claim:
    return Claim(
        row.number,
        row.name,
        row.board,
        tuple(row.tags),
        row.created,
        row.expires,
        row.count,
        row.used,
        row.closed,
        row.device,
    )
