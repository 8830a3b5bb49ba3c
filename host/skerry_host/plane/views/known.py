"""By what a device is known, as it is shown. The registry's `records.known` finds it out."""

from msgspec import Struct

from skerry_host import dates
from skerry_host.plane.views import labels


class KnownView(Struct, frozen=True):
    """An identity, no_identity, awaited (its board has not come), revoked or retired.

    `until` its certificate expires, unless it is renewed; `reason` why it was revoked.
    """

    how: str
    until: float | None = None
    reason: str = ""


def known_by(known: KnownView | None, now: float) -> str:
    """In words, with the day until which the identity is good."""
    if known is None:
        return "–"
    word = labels.label(known.how)
    if known.until is not None:
        day = dates.utc(known.until, "%Y-%m-%d")
        return f"{word}, expired on {day}" if known.until <= now else f"{word} until {day}"
    return f"{word}: {known.reason}" if known.reason else word
