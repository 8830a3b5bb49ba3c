"""Settings from afar, from a person's request to the devices' signed desired states. Publishes nothing.

    ordered ──signed into its desired state──> sent ──device: trial──> trial ──> kept, or rolled back
                                                └──device: no────────> refused

A request is for each device all that is set on it from then on: what a person has changed, over what was set before. Of
an order that a device has rolled back or refused nothing is signed again; the next request goes on from the one before.
"""

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.settings import DEFAULT_TRIAL_S, SettingsOrder, is_kept
from skerry_host.fleet.device import Device
from skerry_host.fleet.settings import Change, merged, require_able
from skerry_host.fleet.several import Refusal, Several, for_each
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import events, identities, settings, twins
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.rollouts.apart import concerns_all
from skerry_host.plane.rollouts.director import Director
from skerry_host.text import MOST, clean

MOST_AT_ONCE = 200
"""Desired states that are signed in one transaction: others wait for the write lock."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SettingsRequest:
    """What a person wants changed, on which devices; `refused` are those that are left out already."""

    change: Change
    devices: Sequence[Device]
    trial_s: float = DEFAULT_TRIAL_S
    refused: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Ordered:
    """An order for one device: its id, all that it sets, and the keys of it that the board keeps for itself."""

    id: str
    keys: tuple[str, ...]
    kept_here: tuple[str, ...] = field(default=())


def order_settings(session: Session, request: SettingsRequest, now: float) -> Several[Ordered]:
    """Order it of all devices that can take it. Raises `SkerryError` where none can."""
    names = [device.id for device in request.devices]
    known, wanted = twins.of(session, names), settings.of(session, names)

    def act(device: Device) -> Ordered:
        twin, before = known[device.id], wanted.get(device.id)
        require_able(request.change, twin.reported, twin.desired)
        base = before.base if before is not None else None
        values = merged(base.values if base is not None else {}, request.change)
        order = SettingsOrder(f"set-{secrets.token_hex(6)}", values, request.trial_s)
        settings.put(session, device.id, order, before, now)
        events.add(session, Event(now, "settings_ordered", device.id, request.change.words))
        said = twin.reported.settings if twin.reported is not None else None
        keeps = said.keeps if said is not None else ()
        return Ordered(order.id, tuple(values), tuple(key for key in request.change.keys if is_kept(key, keeps)))

    return for_each("settings can be ordered", request.devices, lambda each: each.id, act, request.refused)


def sign_settings(registry: Registry, director: Director, now: float) -> bool:
    """Put some of what was ordered since, in any process, into the desired states of its devices; whether all.

    Where that cannot be done for one device, the order ends, and that is said.
    """
    with registry.read() as session:
        waiting = settings.unsigned(session, MOST_AT_ONCE)
    if waiting:
        with registry.write() as session:
            rows = [*twins.rows(session, waiting), *settings.rows(session, waiting)]  # noqa: F841 - a session forgets rows that nobody holds
            for device in waiting:
                _sign(session, director, device, now)
    return len(waiting) < MOST_AT_ONCE


def _sign(session: Session, director: Director, device: str, now: float) -> None:
    try:
        with session.begin_nested():
            identities.require_heard(session, device)
            director.tell(session, device)
            settings.note_signed(session, device)
    except Exception as error:
        if concerns_all(error):
            raise
        log.exception("what is set on device %s cannot be told to it", device)
        settings.note_signed(session, device)
        why = clean(error.message if isinstance(error, SkerryError) else str(error), MOST)
        settings.refuse(session, device, "plane_error", why, now)
        events.add(session, Event(now, "settings_refused", device, f"plane_error: {why}"))
