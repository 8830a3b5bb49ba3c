"""A daily window: `22:00-05:30` as people write it, minutes after midnight as it travels. Knows no time zone. Pure."""

import re

from skerry_agent.wire.errors import WireError

Hours = tuple[int, int]
"""From and to, in minutes after midnight; one that ends before it begins passes midnight."""

FORM = "HH:MM-HH:MM, for instance 22:00-05:30"
_HOURS = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])-([01]?[0-9]|2[0-3]):([0-5][0-9])")


def parse_hours(text: str) -> Hours:
    """The window; raises `WireError` (`hours`) for what is none, or has no length."""
    found = _HOURS.fullmatch(text)
    if found is None or found.group(1, 2) == found.group(3, 4):
        raise WireError(f"time window {text[:40]!r}", [f"write {FORM}"], code="hours")
    from_h, from_min, to_h, to_min = map(int, found.groups())
    return 60 * from_h + from_min, 60 * to_h + to_min


def is_open(hours: Hours, minute: int) -> bool:
    """Whether a minute after midnight is in the window."""
    begin, end = hours
    return begin <= minute < end if begin <= end else minute >= begin or minute < end
