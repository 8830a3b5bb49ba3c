"""The orders that this device refused last, for its twin and its log. Decides nothing: `orders` refuses.

What a message says of itself is read although nobody vouches for it: a person shall see which one was refused.
"""

from collections.abc import Callable

from msgspec import Struct

from skerry_agent import log
from skerry_agent.ports.interfaces import Clock
from skerry_agent.wire import codec
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import Count
from skerry_agent.wire.plain_text import cleaned
from skerry_agent.wire.refusals import MOST_REFUSALS, REFUSALS, OrderKind, RefusedOrder, message_sha256

MOST_ID_CHARS = 64


class RefusedOrders:
    """The newest, oldest first; `changed` is called when there is one more."""

    def __init__(self, clock: Clock, changed: Callable[[], None]) -> None:
        self.newest: tuple[RefusedOrder, ...] = ()
        self._clock, self._changed = clock, changed

    def note(self, kind: OrderKind, raw: bytes, code: str, detail: str) -> None:
        """Say that a message was refused: in the log each time, in the twin once for each message and code."""
        claim, detail = _claim_of(raw), cleaned(detail)
        name = {"desired": "a desired state", "command": "a command"}[kind]
        ids = ",".join(claim.ids) or None
        what = REFUSALS[code].text if code in REFUSALS else code.replace("_", " ")
        sentence = f"{name} was refused: {what}"
        log.warning(sentence, reason=code, detail=detail, generation=claim.generation, ids=ids, hint=_hint(code))
        message = message_sha256(raw)
        if any((known.kind, known.message_sha256, known.code) == (kind, message, code) for known in self.newest):
            return
        refused = RefusedOrder(kind, code, message, self._clock.wall(), detail, claim.generation, claim.ids)
        self.newest = (*self.newest, refused)[-MOST_REFUSALS:]
        self._changed()

    def forget(self, kind: OrderKind) -> None:
        """An order of this kind was accepted: what was refused before it is of the past."""
        self.newest = tuple(known for known in self.newest if known.kind != kind)


def _hint(code: str) -> str | None:
    return REFUSALS[code].hint if code in REFUSALS else None


class _Assigned(Struct, frozen=True):
    deployment: str = ""


class _Said(Struct, frozen=True):
    """What both kinds of orders may say of themselves."""

    generation: Count | None = None
    id: str = ""
    assignments: tuple[_Assigned, ...] = ()


class _Claim(Struct, frozen=True):
    generation: int | None = None
    ids: tuple[str, ...] = ()


def _claim_of(raw: bytes) -> _Claim:
    """Generation and ids that a message names, none where it cannot be read."""
    try:
        said = codec.decode(codec.decode(raw, Envelope).payload, _Said)
    except WireError:
        return _Claim()
    ids = (said.id, *(assigned.deployment for assigned in said.assignments))
    return _Claim(said.generation, tuple(cleaned(each, MOST_ID_CHARS) for each in ids if each)[:16])
