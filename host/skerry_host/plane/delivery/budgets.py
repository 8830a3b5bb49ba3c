"""How many bytes each session of a device is sent of each blob: some times its size at once, and a rate after that.

A device begins a session whenever it begins to ask anew, so what was asked before in its name, by whomever, takes
nothing from it. What is spent comes back with time: a rollout may become slow by it, and never stands. Sessions of a
device are bounded; one more takes over what the one that was idle longest has left.
"""

from collections import OrderedDict
from collections.abc import Callable, Container, Mapping

from skerry_agent.wire.blobs import BlobRef
from skerry_host.plane.token_bucket import Rate, TokenBucket

MAX_SENDS, MAX_EXTRA_BYTES = 4, 1024 * 1024
"""A session is sent at most this many times a blob's size, plus this many bytes, at once; a correct one takes less."""

REFILL_BYTES_S = 256 * 1024
MAX_SESSIONS = 8
"""Of one device."""


class Budgets:
    """What was sent; nothing of it is kept across a restart."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._devices: dict[str, OrderedDict[str, dict[str, TokenBucket]]] = {}

    def allows(self, device: str, session: str, ref: BlobRef) -> bool:
        """Whether another piece of a blob may be sent."""
        return self._bucket(device, session, ref).level(self._clock()) >= 0

    def spend(self, device: str, session: str, ref: BlobRef, size: int) -> None:
        """So many bytes are sent."""
        self._bucket(device, session, ref).take(size)

    def keep(self, required: Mapping[str, Container[str]]) -> None:
        """Forget what no device needs any more: a later deployment has budgets of its own."""
        for device in list(self._devices):
            needs = required.get(device, ())
            for buckets in self._devices[device].values():
                for sha256 in [sha256 for sha256 in buckets if sha256 not in needs]:
                    del buckets[sha256]
            if not any(self._devices[device].values()):
                del self._devices[device]

    def _bucket(self, device: str, session: str, ref: BlobRef) -> TokenBucket:
        sessions = self._devices.setdefault(device, OrderedDict())
        if session not in sessions:
            sessions[session] = sessions.popitem(last=False)[1] if len(sessions) >= MAX_SESSIONS else {}
        sessions.move_to_end(session)
        return sessions[session].setdefault(ref.sha256, TokenBucket(_rate(ref), self._clock()))


def _rate(ref: BlobRef) -> Rate:
    return Rate(MAX_SENDS * ref.size + MAX_EXTRA_BYTES, REFILL_BYTES_S)
