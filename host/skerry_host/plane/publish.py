"""Keeps the broker's retained messages equal to what the registry says: blobs in use, desired states, open commands.

Blobs go out before the desired states that need them, each chunk once; they are cleared when no device needs them.
After a lost connection everything small is said again, and a blob only if its last chunk is no longer there. Decides
nothing: the registry is its only source.
"""

import logging
from collections.abc import Callable, Iterator

from skerry_agent.wire import blobs, topics
from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.errors import SkerryError
from skerry_host.plane.link import Link, Outgoing
from skerry_host.plane.needs import needed_blobs
from skerry_host.plane.records import blobs as published
from skerry_host.plane.records import events, orders, twins
from skerry_host.plane.records.events import Event
from skerry_host.plane.registry import Registry
from skerry_host.release.store import Store

log = logging.getLogger(__name__)


class Publisher:
    """Publishes what changed since the last `sync` of this connection."""

    def __init__(self, registry: Registry, store: Store, link: Link, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._store = store
        self._link = link
        self._clock = clock
        self._epoch = 0
        self._blobs: set[str] = set()
        self._desired: dict[str, int] = {}
        self._commands: dict[str, bytes] = {}
        self._broken: set[str] = set()

    def sync(self) -> None:
        """Bring the broker up to date; stops half-way when the connection is lost, and goes on at the next call."""
        if not self._link.connected:
            return
        if self._epoch != self._link.epoch:
            self._meet_again()
        with self._registry.read() as session:
            needed = needed_blobs(session, self._store)
            envelopes = twins.envelopes(session)
            commands = orders.sent_envelopes(session)
        done = all(self._publish_blob(ref) for ref in needed.values() if ref.sha256 not in self._blobs)
        if done and self._publish_desired(envelopes) and self._publish_commands(commands):
            self._clear_blobs(set(needed))

    def _meet_again(self) -> None:
        """A new connection: find out which blobs the broker still has; all else is said again."""
        epoch = self._link.epoch
        with self._registry.read() as session:
            last = {topics.chunk(row.sha256, row.chunks - 1): row.sha256 for row in published.every(session)}
        found = self._link.retained(last) if last else set()
        self._blobs = {last[topic] for topic in found}
        self._desired, self._commands, self._epoch = {}, {}, epoch

    def _publish_blob(self, ref: BlobRef) -> bool:
        """False when the connection was lost; a blob that the store cannot give is noted once and left out."""
        try:
            data = self._store.get(ref.sha256)
        except SkerryError as error:
            self._note_broken(ref.sha256, error)
            return True
        with self._registry.write() as session:
            published.add(session, ref, self._clock())
        if not self._link.publish(blob_messages(ref, data)):
            return False
        self._blobs.add(ref.sha256)
        log.info("published blob %s: %d bytes in %d chunks", ref.sha256[:12], ref.size, ref.chunks)
        return True

    def _publish_desired(self, envelopes: dict[str, tuple[int, bytes]]) -> bool:
        changed = {device: entry for device, entry in envelopes.items() if self._desired.get(device) != entry[0]}
        messages = [Outgoing(topics.desired(device), envelope) for device, (_, envelope) in changed.items()]
        if not self._link.publish(messages):
            return False
        self._desired.update({device: generation for device, (generation, _) in changed.items()})
        return True

    def _publish_commands(self, commands: dict[str, bytes]) -> bool:
        fresh = {device: raw for device, raw in commands.items() if self._commands.get(device) != raw}
        with self._registry.read() as session:
            over = orders.answered_envelopes(session)
        stale = set(over.values()) - set(commands)
        messages = [Outgoing(topics.command(device), raw) for device, raw in fresh.items()]
        messages += [Outgoing(topics.command(device), b"") for device in stale]
        if not self._link.publish(messages):
            return False
        self._commands = dict(commands)
        if over:
            with self._registry.write() as session:
                orders.forget_envelopes(session, over)
        return True

    def _clear_blobs(self, needed: set[str]) -> None:
        with self._registry.read() as session:
            unused = [row for row in published.every(session) if row.sha256 not in needed]
        for row in unused:
            names = [topics.chunk(row.sha256, index) for index in range(row.chunks)]
            names += [topics.digests(row.sha256)] if row.digests else []
            if not self._link.publish(Outgoing(name, b"") for name in names):
                return
            self._blobs.discard(row.sha256)
            with self._registry.write() as session:
                published.remove(session, row.sha256)

    def _note_broken(self, sha256: str, error: SkerryError) -> None:
        if sha256 in self._broken:
            return
        self._broken.add(sha256)
        log.error("%s", error)
        with self._registry.write() as session:
            events.add(session, Event(self._clock(), "error", sha256[:12], str(error)))


def blob_messages(ref: BlobRef, data: bytes) -> Iterator[Outgoing]:
    """All that is retained for a blob; the digest list first, so that every chunk can be checked when it comes."""
    if ref.digests_sha256 is not None:
        yield Outgoing(topics.digests(ref.sha256), blobs.digest_list(data, ref.chunk_bytes))
    for index, chunk in enumerate(blobs.split(data, ref.chunk_bytes)):
        yield Outgoing(topics.chunk(ref.sha256, index), chunk)
