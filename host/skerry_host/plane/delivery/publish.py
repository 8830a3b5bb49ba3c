"""Keeps the broker's retained messages in step with the registry: blobs in use, desired states, open commands.

Blobs are published before the desired states that need them, each chunk once, and cleared when no device needs them.
After a reconnect everything small is published again, and a blob only if its last chunk is gone. Blobs that exceed the
limit of retained messages are left out: devices request them (`answers`). Decides nothing: it reads the registry only,
but for what is `undeliverable`.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from skerry_agent.wire import blobs, topics
from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.errors import SkerryError
from skerry_host.plane.broker.link import Link, Outgoing
from skerry_host.plane.delivery.required_blobs import Refs, RequiredBlobs, RequiredBlobsReader
from skerry_host.plane.delivery.restoring import restore
from skerry_host.plane.delivery.tampering import Tampering
from skerry_host.plane.delivery.undeliverable import Undeliverable
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import blobs as published
from skerry_host.plane.registry.records import changes, events, identities, orders, twins
from skerry_host.plane.registry.records.changes import NOTHING, Changes
from skerry_host.plane.registry.records.events import Event
from skerry_host.plane.registry.records.orders import Commands
from skerry_host.plane.registry.records.parts import parts
from skerry_host.release.store import Store

MAX_RETAINED = 1000
"""How many chunks and digest lists are retained at once by default; also the limit of some hosted brokers."""

MAX_LOSSES = 3
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cleared:
    """Of `desired` devices nothing is wanted any more; what `denied` ones have said of themselves stands no longer."""

    desired: list[str]
    denied: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Due:
    """What the registry wants of the broker as of one moment; `generations` of the desired states that may be new."""

    seen: Changes
    required: RequiredBlobs
    generations: dict[str, int]
    cleared: Cleared
    commands: Commands


class Publisher:
    """Publishes what changed since the last `sync` of this connection.

    `allow` is told which blobs each device may request, before the device can know of them. At most `max_retained`
    messages of blobs are retained at once.
    """

    def __init__(
        self,
        registry: Registry,
        store: Store,
        link: Link,
        clock: Callable[[], float],
        allow: Callable[[dict[str, Refs]], None],
        max_retained: int = MAX_RETAINED,
    ) -> None:
        self._registry = registry
        self._store = store
        self._link = link
        self._clock = clock
        self._allow = allow
        self._most_retained = max_retained
        self._required = RequiredBlobsReader(store, clock)
        self._epoch = 0
        self._done: Changes = NOTHING
        self._allowed: RequiredBlobs | None = None
        self._kept_for: RequiredBlobs | None = None
        self._blobs: set[str] = set()
        self._desired: dict[str, int] = {}
        self._denied: frozenset[str] = frozenset()
        self._commands: dict[str, bytes] = {}
        self._maybe_retained: set[str] = set()
        self.undeliverable = Undeliverable(registry, store, clock)
        self.tampering = Tampering(clock)
        self._losses: Counter[str] = Counter()

    def sync(self) -> None:
        """Bring the broker up to date; stops half-way when the connection is lost, and goes on at the next call."""
        if not self._link.connected:
            return
        if self._epoch != self._link.epoch:
            self._reconnected()
        restore(self._registry, self._link, self.tampering, self._clock)
        due = self._read_due()
        if due is None:
            return
        if due.required is not self._allowed:
            self._allow(due.required.by_device)
            self._allowed = due.required
        if (
            self._publish_blobs(due.required)
            and self._publish_desired(due.generations)
            and self._clear_desired(due.cleared)
            and self._publish_commands(due.commands)
        ):
            self._done = due.seen
        self.undeliverable.refuse(due.required)

    def _read_due(self) -> "_Due | None":
        """What to bring the broker in step with, all as of one moment; None when it is in step already."""
        with self._registry.read() as session:
            seen = changes.now(session)
            if seen == self._done and not (self.undeliverable.pending or self._required.lacking):
                return None
            required = self._required.read(session)
            since = self._done if seen.goes_on_from(self._done) else NOTHING
            generations = twins.generations(session, since.twins)
            cleared = Cleared(twins.cleared(session, since.twins), identities.denied(session))
            return _Due(seen, required, generations, cleared, orders.commands(session))

    def _publish_blobs(self, required: RequiredBlobs) -> bool:
        """Clear what is not needed, and publish what is; False when the connection was lost."""
        if required is self._kept_for and not self.undeliverable.broken:
            return True
        with self._registry.read() as session:
            live = {row.sha256 for row in published.all_blobs(session)}
        costly = {what for what, losses in self._losses.items() if losses >= MAX_LOSSES}
        costly |= {ref.sha256 for ref in required.blobs.values() if self.undeliverable.too_large(ref)}
        kept = retainable(required.blobs, live - costly, costly, self._most_retained)
        self.undeliverable.broken &= kept.keys()
        due = [ref for ref in kept.values() if ref.sha256 not in self._blobs]
        if not self._clear_blobs(kept) or not all(self._publish_blob(ref) for ref in due):
            return False
        self._kept_for = required
        return True

    def _reconnected(self) -> None:
        """After a reconnect: find out which blobs the broker still has; everything else is published again.

        A restarted broker may have restored a command that had been cleared, so those are cleared again, too.
        """
        epoch = self._link.epoch
        self.tampering.connected()
        with self._registry.read() as session:
            last = {topics.chunk(row.sha256, row.chunks - 1): row.sha256 for row in published.all_blobs(session)}
            self._maybe_retained = orders.ordered_devices(session)
        found = self._link.retained(last) if last else set()
        self._blobs = {last[topic] for topic in found}
        self._desired, self._commands, self._epoch = {}, {}, epoch
        self._denied = frozenset()
        self._done, self._kept_for = NOTHING, None

    def _publish_blob(self, ref: BlobRef) -> bool:
        """False when the connection was lost; a blob that the store cannot give is noted once and left out."""
        try:
            data = self._store.get(ref.sha256)
        except SkerryError as error:
            self._note_broken(ref.sha256, error)
            return True
        with self._registry.write() as session:
            published.add(session, ref, self._clock())
        if not self._try(ref.sha256, blob_messages(ref, data), "devices must request it"):
            return False
        self._blobs.add(ref.sha256)
        self.undeliverable.broken.discard(ref.sha256)
        log.info("published blob %s: %d bytes in %d chunks", ref.sha256[:12], ref.size, ref.chunks)
        return True

    def _publish_desired(self, generations: dict[str, int]) -> bool:
        """The desired states of these generations; False when the connection was lost."""
        due = [device for device, generation in generations.items() if self._desired.get(device) != generation]
        return all(self._publish_some({device: generations[device] for device in part}) for part in parts(due))

    def _clear_desired(self, cleared: Cleared) -> bool:
        """Take from the broker what it retains for devices and of denied ones; False when the connection was lost."""
        denied = cleared.denied - self._denied
        names = [topics.desired(device) for device in cleared.desired]
        self._announce([Outgoing(name, b"") for name in names])
        names += [say(device) for device in sorted(denied) for say in (topics.state, topics.reported)]
        if not self._link.publish([Outgoing(name, b"") for name in names]):
            return False
        for device in cleared.desired:
            self._desired.pop(device, None)
        self._denied = cleared.denied
        return True

    def _publish_some(self, generations: dict[str, int]) -> bool:
        """A newer one than of these generations may need blobs that are not published yet: the next call sends it."""
        with self._registry.read() as session:
            envelopes = {
                device: envelope
                for device, (generation, envelope) in twins.envelopes(session, generations).items()
                if generation == generations[device]
            }
        messages = [Outgoing(topics.desired(device), envelope) for device, envelope in envelopes.items()]
        self._announce(messages)
        if not self._try("desired states", messages, "the broker must retain small messages, and seems not to"):
            return False
        self._desired.update({device: generations[device] for device in envelopes})
        return True

    def _publish_commands(self, commands: Commands) -> bool:
        """What is answered after `commands` was read stays until the next call: only what was read is forgotten.

        False when the connection was lost.
        """
        sent, over = commands.sent, commands.over
        fresh = {device: raw for device, raw in sent.items() if self._commands.get(device) != raw}
        stale = (self._maybe_retained | set(over.values())) - set(sent)
        messages = [Outgoing(topics.command(device), raw) for device, raw in fresh.items()]
        messages += [Outgoing(topics.command(device), b"") for device in sorted(stale)]
        self._announce(messages)
        if not self._link.publish(messages):
            return False
        self._commands, self._maybe_retained = dict(sent), set()
        if over:
            with self._registry.write() as session:
                orders.forget_envelopes(session, over)
        return True

    def _announce(self, messages: Iterable[Outgoing]) -> None:
        for message in messages:
            self.tampering.publishing(message.topic, message.payload)

    def _clear_blobs(self, kept: Collection[str]) -> bool:
        """False when the connection was lost."""
        with self._registry.read() as session:
            unused = [row for row in published.all_blobs(session) if row.sha256 not in kept]
        for row in unused:
            names = [topics.chunk(row.sha256, index) for index in range(row.chunks)]
            names += [topics.digests(row.sha256)] if row.digests else []
            if not self._link.publish(Outgoing(name, b"") for name in names):
                return False
            self._blobs.discard(row.sha256)
            with self._registry.write() as session:
                published.remove(session, row.sha256)
        return True

    def _try(self, what: str, messages: Iterable[Outgoing], then: str) -> bool:
        """Publish; when that ends the connection again and again, the broker may refuse to retain: log an event."""
        if self._link.publish(messages):
            del self._losses[what]
            return True
        self._losses[what] += 1
        if self._losses[what] == MAX_LOSSES:
            self._note(what[:14], f"the connection was lost {MAX_LOSSES} times while publishing it: {then}")
        return False

    def _note_broken(self, sha256: str, error: SkerryError) -> None:
        if sha256 in self.undeliverable.broken:
            return
        self.undeliverable.broken.add(sha256)
        self._note(sha256[:12], str(error))

    def _note(self, subject: str, text: str) -> None:
        log.error("%s: %s", subject, text)
        with self._registry.write() as session:
            events.add(session, Event(self._clock(), "error", subject, text))


def retainable(needed: Refs, live: Collection[str], left_out: Collection[str], most: int) -> Refs:
    """Which required blobs to retain: at most `most` messages, those that are `live` first."""
    kept: Refs = {}
    room = most
    for ref in sorted(needed.values(), key=lambda ref: ref.sha256 not in live):
        if ref.sha256 not in left_out and _messages(ref) <= room:
            kept[ref.sha256] = ref
            room -= _messages(ref)
    return kept


def _messages(ref: BlobRef) -> int:
    return ref.chunks + (ref.digests_sha256 is not None)


def blob_messages(ref: BlobRef, data: bytes) -> Iterator[Outgoing]:
    """All messages of a blob; the digest list first, so that every chunk can be checked when it arrives."""
    if ref.digests_sha256 is not None:
        yield Outgoing(topics.digests(ref.sha256), blobs.digest_list(data, ref.chunk_bytes))
    for index, chunk in enumerate(blobs.split(data, ref.chunk_bytes)):
        yield Outgoing(topics.chunk(ref.sha256, index), chunk)
