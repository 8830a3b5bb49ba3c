"""Makes records and claims for boards that are to come, and notes what people decide of boards that wait.

Writes to the registry only; the serving plane enrols (`desk`), and the command line writes the folders.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from skerry_host.fleet.device import Device
from skerry_host.fleet.errors import FleetError
from skerry_host.plane.errors import UnknownError
from skerry_host.plane.registry.records import claims, devices, events, identities, moves
from skerry_host.plane.registry.records.claims import Claim, Wanted
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.registry.tables import PendingRow

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A device that is to come, and the hardware serial of its board where that is known."""

    device: Device
    serial: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """Which device a board is to be, and how its record is made where there is none; `replace` its former board."""

    device: Device
    replace: bool = False


def add_record(session: Session, device: Device, now: float, *, replace: bool) -> bool:
    """Make a device's record, or renew it if `replace`; whether it is new. Raises `UnknownError` when it is there."""
    if device.id not in devices.known(session, [device.id]):
        devices.add(session, device, now)
        return True
    if not replace:
        hint = "choose another name, or give --replace for another board in its place"
        raise UnknownError(f"device {device.id} is already enrolled", hint=hint, code="exists")
    devices.renew(session, device)
    return False


def record_without_identity(session: Session, device: Device, now: float, *, replace: bool) -> None:
    """A record for a broker that knows no identities: whoever comes in its name is the device, also after it had left.

    Raises `UnknownError` when it is there, unless `replace`.
    """
    if not add_record(session, device, now, replace=replace):
        identities.forget(session, device.id, now)


def claim_for_one(session: Session, device: Device, days: float, now: float, *, replace: bool) -> Claim:
    """A claim for the board of one record, which is made or renewed. The board that is enrolled stays until then."""
    new = add_record(session, device, now, replace=replace)
    claims.close_all_for(session, device.id, now)
    moves.withdraw(session, device.id, now)
    wanted = Wanted(device.board, tuple(device.tags), now + days * DAY_S, 1, device.id)
    claim = claims.add(session, wanted, now)
    if new:
        claims.set_claim(session, device.id, claim.number)
    events.add(session, Event(now, "claim", claim.name, f"for the board of {device.id}, {days:g} days"))
    return claim


def claim_for_records(session: Session, records: Sequence[NewRecord], days: float, now: float) -> Claim:
    """A claim for as many boards as there are records, which are made. Raises `FleetError` that names those taken."""
    taken = devices.known(session, [each.device.id for each in records])
    if taken:
        named = ", ".join(sorted(taken)[:5]) + (f" and {len(taken) - 5} more" if len(taken) > 5 else "")
        raise FleetError(f"already enrolled: {named}", hint="leave them out, or choose other names", code="exists")
    boards = {each.device.board for each in records}
    wanted = Wanted(boards.pop() if len(boards) == 1 else "", (), now + days * DAY_S, len(records))
    claim = claims.add(session, wanted, now)
    for each in records:
        devices.add(session, each.device, now)
        claims.set_claim(session, each.device.id, claim.number, each.serial or None)
    events.add(session, Event(now, "claim", claim.name, f"for {len(records)} records, {days:g} days"))
    return claim


def claim_for_count(session: Session, wanted: Wanted, now: float) -> Claim:
    """A claim for so many boards that have no record yet: each waits until a person approves it."""
    claim = claims.add(session, wanted, now)
    text = f"for {wanted.count} boards of {wanted.board}, until approved"
    events.add(session, Event(now, "claim", claim.name, text))
    return claim


def note_certificate(session: Session, claim: Claim, serial: str, not_after: float) -> None:
    """Keep the certificate of a claim, so that it can be revoked."""
    row = identities.Certificate(serial, claim.name, "claim", "", not_after)
    identities.add_certificate(session, row)


def approve(session: Session, code: str, approval: Approval, now: float) -> PendingRow:
    """Say which device a waiting board is. Raises `UnknownError`, `FleetError` when it cannot become that."""
    row, device = claims.by_code(session, check_code(code)), approval.device
    require_open(session, row, now)
    moves_as = moves.device_of(session, row.claim)
    if moves_as not in {None, device.id}:
        hint = f"`skerry device approve {row.code}`"
        raise FleetError(f"{row.code} was offered to {moves_as} only", hint=hint, code="other_device")
    if device.id not in devices.known(session, [device.id]):
        devices.add(session, device, now)
        claim = claims.find(session, row.claim)
        claims.set_claim(session, device.id, claim.number if claim else None)
    else:
        _require_free(session, row, approval)
    claims.approve(session, row.key_sha256, device.id, replace=approval.replace)
    events.add(session, Event(now, "approved", device.id, f"board {row.code} of {row.claim}"))
    return row


def deny(session: Session, code: str, now: float) -> PendingRow:
    """Say that a waiting board is none of the fleet's. Raises `UnknownError`."""
    row = claims.by_code(session, check_code(code))
    claims.deny(session, row.key_sha256, now)
    events.add(session, Event(now, "denied", row.claim, f"board {row.code}"))
    return row


def check_code(text: str) -> str:
    """A code as it is kept, of one that a person has typed; raises `FleetError`."""
    letters = re.sub(r"[\s-]", "", text).upper()
    if not re.fullmatch(r"[A-Z2-7]{8}", letters):
        raise FleetError(f"{text!r} is not a board's code", hint="it is like KX3P-77QA", code="code")
    return f"{letters[:4]}-{letters[4:]}"


def rename(session: Session, old: str, new: str, now: float) -> None:
    """Give a record whose board has not come another id. Raises `UnknownError`; `FleetError` once it has an identity.

    The id is in the certificate, in every topic and in the history: of a board that has come it cannot be changed.
    """
    found = devices.find(session, old)
    if devices.known(session, [new]):
        raise UnknownError(f"device {new} is already enrolled", hint="choose another name", code="exists")
    if devices.has_history(session, old) or identities.find(session, old) is not None:
        hint = (
            f"`skerry device provision {new} --board {found.board}`, install its folder, `skerry device retire {old}`"
        )
        raise FleetError(f"device {old} has enrolled, and its id is in its certificate", hint=hint, code="has_identity")
    devices.rename(session, old, new)
    events.add(session, Event(now, "renamed", new, f"was {old}"))


def require_open(session: Session, row: PendingRow, now: float) -> None:
    """Raises `FleetError` where the claim by which a board asks gives nothing any more."""
    claim = claims.find(session, row.claim)
    if claim is None or claim.closed is not None or now >= claim.expires:
        why = "is closed" if claim is not None and claim.closed is not None else "has expired"
        hint = "make another claim and put its folder on the board"
        raise FleetError(f"{row.claim}, by which board {row.code} asks, {why}", hint=hint, code="claim_over")
    if claim.used >= claim.count:
        hint = "make another claim and put its folder on the board"
        text = f"{row.claim} is used up: {claim.used} of {claim.count} boards have enrolled by it"
        raise FleetError(text, hint=hint, code="claim_used_up")


def _require_free(session: Session, row: PendingRow, approval: Approval) -> None:
    device = approval.device.id
    identity = identities.find(session, device)
    taken = identity is not None and (identity.key_sha256 is not None or identity.is_denied)
    if taken and not approval.replace:
        what = "has a board already" if identity is not None and not identity.is_denied else "was revoked or retired"
        hint = "choose another id, or give --replace for this board in its place"
        raise FleetError(f"device {device} {what}", hint=hint, code="exists")
    others = [each.code for each in claims.approved(session) if each.approved == device and each.code != row.code]
    if others:
        hint = f"`skerry device deny {others[0]}` if that is the wrong one"
        raise FleetError(f"board {others[0]} was approved as {device} before", hint=hint, code="exists")
