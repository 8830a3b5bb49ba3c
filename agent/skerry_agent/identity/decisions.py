"""When a certificate is renewed, when a clock cannot be believed, what a failed connection means. Pure.

Times are seconds since 1970.
"""

import hashlib
from collections.abc import Iterator

from skerry_agent.ports.clock import PLAUSIBLE_WALL_S
from skerry_agent.state.identity import MOVED, Identity

RENEWAL_SHARE, RENEWAL_SPREAD = 2 / 3, 0.1
"""At which share of a certificate's life it is renewed, and over which share of it the devices of a fleet spread."""

SLACK_S = 3600.0
"""A clock that is right may be wrong by so much."""

OF_TIME = frozenset({"certificate_expired", "certificate_not_yet_valid"})
"""The broker's certificate is not valid by this device's clock: one of the two is wrong."""

OF_OURS = frozenset(
    {
        "own_certificate_expired",
        "own_certificate_revoked",
        "certificate_refused",
        "certificate_wanted",
        "closed_after_handshake",
        "not_authorized",
        "unusable_certificate",
        "unusable_key",
    }
)
"""The broker, or TLS here, does not take this device's certificate."""

FINAL = frozenset({"own_certificate_expired", "own_certificate_revoked", "unusable_certificate", "unusable_key"})
"""Of these, what another attempt with the same certificate cannot mend."""

ATTEMPTS = 3
"""So often a certificate is refused before another way is tried: a broker that restarts may refuse once."""


def renewal_due(identity: Identity) -> float:
    """When to ask for a new certificate: at two thirds of its life, each device at its own moment.

    At once where it came over the old way: by that request, which only its key can sign, the host knows that the device
    has come over the new one.
    """
    if identity.claim == MOVED:
        return 0.0
    life = identity.not_after - identity.not_before
    drawn = int.from_bytes(hashlib.sha256(f"{identity.device} {identity.serial}".encode()).digest()[:4]) / 2**32
    return identity.not_before + life * (RENEWAL_SHARE + RENEWAL_SPREAD * (drawn - 0.5))


def is_doubtful(wall: float, begins: float, ends: float) -> bool:
    """Whether this device's clock may be wrong: it was never set, or its own certificate is not valid by it.

    A certificate that has really expired looks the same. So the host's time decides, which is asked for.
    """
    return wall < PLAUSIBLE_WALL_S or not begins - SLACK_S <= wall <= ends


def is_valid_at(now: float, begins: float, ends: float) -> bool:
    """Whether a certificate is valid at a time that is known."""
    return begins - SLACK_S <= now <= ends


def pauses(first_s: float, growth: float, last_s: float) -> Iterator[float]:
    """Seconds to wait before each further attempt, for ever."""
    pause_s = first_s
    while True:
        yield pause_s
        pause_s = min(last_s, pause_s * growth)
