"""The orders that this device refused last, for its twin and its log. Decides nothing: `orders` refuses.

What a message says of itself is read although nobody vouches for it: a person shall see which one was refused. Anybody
who reaches the broker can send messages that nobody has signed: of a flood of those a few are told, the others counted,
and they do not put out of the twin what the host has signed.
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
BURST, REFILL_S = 10.0, 10.0
"""So many unsigned messages are told at once, and one more for each of these seconds."""


class RefusedOrders:
    """The newest, oldest first; `changed` is called when there is one more."""

    def __init__(self, clock: Clock, changed: Callable[[], None]) -> None:
        self._newest: tuple[tuple[RefusedOrder, bool], ...] = ()
        self._clock, self._changed = clock, changed
        self._tokens, self._filled_at = BURST, clock.monotonic()
        self._untold = 0

    @property
    def newest(self) -> tuple[RefusedOrder, ...]:
        """For the twin."""
        return tuple(order for order, _signed in self._newest)

    def note(self, kind: OrderKind, raw: bytes, code: str, detail: str, *, signed: bool = True) -> bool:
        """Say that a message was refused: in the log each time, in the twin once for each message and code.

        False for one of many that no trusted key has signed: it is only counted.
        """
        if not signed and not self._afforded():
            self._untold += 1
            return False
        claim, detail = _claim_of(raw), cleaned(detail)
        self._log(kind, claim, code, detail)
        message = message_sha256(raw)
        if any((known.kind, known.message_sha256, known.code) == (kind, message, code) for known in self.newest):
            return True
        refused = RefusedOrder(kind, code, message, self._clock.wall(), detail, claim.generation, claim.ids)
        self._newest = _shortened([*self._newest, (refused, signed)])
        self._changed()
        return True

    def _log(self, kind: OrderKind, claim: "_Claim", code: str, detail: str) -> None:
        name = {"desired": "a desired state", "command": "a command"}[kind]
        ids = ",".join(claim.ids) or None
        what = REFUSALS[code].text if code in REFUSALS else code.replace("_", " ")
        untold, self._untold = self._untold or None, 0
        log.warning(
            f"{name} was refused: {what}",
            reason=code,
            detail=detail,
            generation=claim.generation,
            ids=ids,
            hint=_hint(code),
            untold=untold,
        )

    def _afforded(self) -> bool:
        now = self._clock.monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._filled_at) / REFILL_S)
        self._filled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def forget(self, kind: OrderKind) -> None:
        """An order of this kind was accepted: what was refused before it is of the past."""
        self._newest = tuple(known for known in self._newest if known[0].kind != kind)


def _shortened(orders: list[tuple[RefusedOrder, bool]]) -> tuple[tuple[RefusedOrder, bool], ...]:
    """The newest of them; what is unsigned has half of the places where there is something that is signed."""
    while len(orders) > MOST_REFUSALS:
        unsigned = [place for place, (_order, signed) in enumerate(orders) if not signed]
        oldest_signed = next((place for place, (_order, signed) in enumerate(orders) if signed), None)
        crowded = len(unsigned) > MOST_REFUSALS // 2 or oldest_signed is None
        del orders[unsigned[0] if crowded or oldest_signed is None else oldest_signed]
    return tuple(orders)


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
