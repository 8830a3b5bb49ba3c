"""How much each device may say: per kind of message a burst and a rate, in messages and in bytes. Pure but for memory.

What is over is acknowledged and dropped, never left unacknowledged: the broker would deliver nothing after it, of
nobody. Nothing is lost by that for good. Reports stay on their device until a receipt names them; of twins the newest
is retained, and `unheard` says whose has to be asked for again; a command is answered whenever it comes. So only what
is well formed counts here: garbage in a device's name takes nothing from what the device itself says.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from skerry_agent.wire.telemetry import Report
from skerry_agent.wire.twin import DeviceState, Reported
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.token_bucket import Rate, TokenBucket

MB = 1024.0 * 1024.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a device may send of one kind of message."""

    messages: Rate
    size: Rate


REPORTS = Allowance(Rate(60_000, 20), Rate(64 * MB, MB))
"""The burst is a whole outbox: 30 days of a report a minute are 43,200, of 32 MB at most as a device keeps them."""

USUAL = Allowance(Rate(200, 20), Rate(4 * MB, MB))
"""A twin changes at most twenty times a second, and a second's worth of changes is told in one."""

EVENTS = Rate(200, 1 / 30)
"""Of what a device can cause as often as it likes: online, offline, refusals. Events are kept for a year."""

LEAST_FREE = 0.5
"""Of a burst, before what was dropped is asked for again: else that would be dropped as well."""


class _Device:
    """One device's buckets, those of one kind."""

    __slots__ = ("messages", "size")

    def __init__(self, allowance: Allowance, now: float) -> None:
        self.messages = TokenBucket(allowance.messages, now)
        self.size = TokenBucket(allowance.size, now)

    def is_open(self, now: float) -> bool:
        return self.messages.level(now) >= 1 and self.size.level(now) >= 0

    def takes(self, size: int, now: float) -> bool:
        if not self.is_open(now):
            return False
        self.messages.take(1)
        self.size.take(size)
        return True

    def is_free(self, now: float) -> bool:
        return self.messages.level(now) >= LEAST_FREE * self.messages.rate.burst


class RateLimits:
    """Of enrolled devices only, so that strangers take no memory."""

    def __init__(self, reports: Allowance = REPORTS, usual: Allowance = USUAL) -> None:
        self._reports, self._usual = reports, usual
        self._devices: dict[tuple[str, type], _Device] = {}
        self._batch: Sequence[Incoming] = ()
        self._judged: dict[int, bool] = {}
        self._unheard: dict[str, None] = {}
        self._events: dict[str, TokenBucket] = {}

    def begin(self, batch: Sequence[Incoming]) -> None:
        """These messages are judged from now on. The very same ones again, after a failure, are not counted twice."""
        if batch is not self._batch:
            self._batch, self._judged = batch, {}

    def is_spent(self, message: Incoming, kind: type, device: str, now: float) -> bool:
        """Whether a message need not be read, since none of its kind may pass: a flood of large ones costs nothing."""
        buckets = self._devices.get((device, kind))
        if id(message) in self._judged or buckets is None or buckets.is_open(now):
            return False
        self._drop(kind, device)
        return True

    def admit(self, message: Incoming, kind: type, device: str, now: float) -> bool:
        """Whether a message of the batch may pass."""
        known = self._judged.get(id(message))
        if known is None:
            known = self._judged[id(message)] = self._takes(message, kind, device, now)
        return known

    def _takes(self, message: Incoming, kind: type, device: str, now: float) -> bool:
        buckets = self._devices.get((device, kind))
        if buckets is None:
            buckets = self._devices[device, kind] = _Device(self._allowance(kind), now)
        if buckets.takes(len(message.payload), now):
            return True
        self._drop(kind, device)
        return False

    def _allowance(self, kind: type) -> Allowance:
        return self._reports if kind is Report else self._usual

    def _drop(self, kind: type, device: str) -> None:
        if kind in {Reported, DeviceState}:
            self._unheard[device] = None

    def may_note(self, device: str, now: float) -> bool:
        """Whether one more event is noted that a device has caused, and can cause again at once."""
        return self._events.setdefault(device, TokenBucket(EVENTS, now)).lets_one_pass(now)

    def unheard(self, now: float, most: int) -> list[str]:
        """Devices of whose twin something was dropped, and which may speak again; each once."""
        free = [device for device in self._unheard if self._may_speak(device, now)][:most]
        for device in free:
            del self._unheard[device]
        return free

    def _may_speak(self, device: str, now: float) -> bool:
        known = (self._devices.get((device, kind)) for kind in (Reported, DeviceState))
        return all(buckets is None or buckets.is_free(now) for buckets in known)
