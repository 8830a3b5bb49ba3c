"""Writes moments of the registry, which may hold any number, as dates: what is no date of any calendar is a `?`."""

import time
from datetime import UTC, datetime

NO_DATE = "?"


def utc(at: float, form: str) -> str:
    """Seconds since 1970 in UTC, in the form that `strftime` takes."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return NO_DATE


def local(at: float, form: str) -> str:
    """The same in this computer's time zone."""
    try:
        return time.strftime(form, time.localtime(at))
    except (ValueError, OverflowError, OSError):
        return NO_DATE
