"""How a device may fetch and when, how an attempt ends: what models' deployments and upgrades of the agent share."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from skerry_agent.wire.names import MAX_COUNT

Fallback = Literal["always", "unmetered", "never"]
Transfer = Literal["patch", "full"]
Outcome = Literal["succeeded", "rejected", "failed", "rolled_back", "cancelled", "timed_out"]


Minute = Annotated[int, Meta(ge=0, lt=1440)]
_HOST = r"(?:(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}|\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\])"
_PORT = r"(?::(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
BaseUrl = Annotated[str, Meta(pattern=rf"^https?://{_HOST}{_PORT}(?:/[A-Za-z0-9._/~-]*)?\Z", max_length=250)]


class TransferPolicy(Struct, frozen=True):
    """How a device may fetch: whether a full artifact may replace a patch, a byte budget, a deadline in seconds, hours.

    The budget covers every byte of manifest, patches and artifacts, also those that had to come again. `hours` is a
    daily window (from, to) in minutes after midnight in the device's own time zone (UTC where none is set); one that
    ends before it begins passes midnight. A device whose clock was never set cannot know the hour and fetches at any.
    """

    full_fallback: Fallback = "always"
    byte_budget: Annotated[int, Meta(gt=0, le=MAX_COUNT)] | None = None
    deadline_s: Annotated[float, Meta(gt=0)] = 3600.0
    hours: tuple[Minute, Minute] | None = None
