"""The host's offer of an identity, as a device of the old way keeps it: where it then comes in, and whom it believes.

    <state>/offer/fleet-ca.pem   the fleet's authority
    <state>/offer/offer.json     the offer, written last; with a checksum, and in a second copy: without it, a device
                                 that has moved would be sought where it is not heard any more

agent.toml stays as it is: once there is an identity, this stands in the place of its broker. Decides nothing.
"""

import contextlib
from pathlib import Path

from skerry_agent.state.disk import DiskError, read_record, write_private, write_record
from skerry_agent.state.identity import IdentityStore, make_private
from skerry_agent.wire.enrolment import Offer
from skerry_agent.wire.errors import WireError

FOLDER, AUTHORITY = "offer", "fleet-ca.pem"
RECORDS = ("offer.second.json", "offer.json")


def keep(state: Path, offer: Offer) -> None:
    """Keep it, in the place of one before. Raises `OSError`."""
    make_private(state / FOLDER)
    write_private(authority(state), offer.ca.encode())
    for name in RECORDS:
        write_record(state / FOLDER / name, offer)


def kept(state: Path) -> Offer | None:
    """The offer that was kept; None where there is none, or none that can be read: the host's next order has it."""
    for name in reversed(RECORDS):
        with contextlib.suppress(DiskError, WireError):
            found = read_record(state / FOLDER / name, Offer)
            if found is not None:
                return found
    return None


def authority(state: Path) -> Path:
    """The file of the authority."""
    return state / FOLDER / AUTHORITY


def taken(state: Path) -> Offer | None:
    """The offer by which a device has come to have an identity; None where it has none."""
    offer, store = kept(state), IdentityStore(state)
    return offer if offer is not None and (store.current() or store.renewed()) is not None else None
