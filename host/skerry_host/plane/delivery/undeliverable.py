"""Blobs that cannot be delivered, and deployments that cannot succeed without them: their orders are refused at once.

Two things are in the way: the store lacks a file or holds it damaged, or the broker does not pass on messages as large
as a chunk. A deployment that gets along without (it holds the file, or a patch leads to it) goes on. Ends nothing
itself: the rollout loop ends what is refused.
"""

from collections.abc import Callable
from functools import partial

from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.twin import Assignment
from skerry_agent.wire.upgrades import AgentOrder
from skerry_host.plane.delivery.required_blobs import RequiredBlobs
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import rollouts, twins
from skerry_host.plane.registry.records.twins import Twin
from skerry_host.release.obstacles import BundleOrder, Obstacle, lacking, obstacle, wheelhouse_obstacle
from skerry_host.release.runtime_store import RuntimeStore
from skerry_host.release.store import Store


class Undeliverable:
    """What is known of it; `chunk_limit` is the largest chunk that the broker passes on, None where all do.

    `broken` are blobs that the store could not give when they were to be published.
    """

    def __init__(self, registry: Registry, store: Store, clock: Callable[[], float]) -> None:
        self.broken: set[str] = set()
        self.chunk_limit: int | None = None
        self._registry, self._store, self._clock = registry, store, clock
        self._unreadable: set[str] = set()
        self._refused_for: tuple[RequiredBlobs | None, frozenset[str]] = None, frozenset()

    def note_unreadable(self, sha256: str) -> None:
        """A device asked for a blob that the store could not give."""
        self._unreadable.add(sha256)

    @property
    def pending(self) -> bool:
        """Whether something may have changed that is in no record: it is looked at again with each call."""
        return bool(self.broken or self._unreadable)

    def too_large(self, ref: BlobRef) -> bool:
        """Whether the broker would not pass on a message of a blob."""
        return self.chunk_limit is not None and ref.largest_message > self.chunk_limit

    def refuse(self, required: RequiredBlobs) -> None:
        """Refuse what is under way and cannot succeed; once for what is required and what is in its way."""
        self._unreadable = {sha256 for sha256 in self._unreadable if self._lacks(sha256, required)}
        large = {ref.sha256 for ref in required.blobs.values() if self.too_large(ref)}
        gone = frozenset(self.broken | self._unreadable | large)
        before, self._refused_for = self._refused_for, (required, gone)
        if not gone or (before[0] is required and before[1] == gone):
            return
        waiting = [device for device, refs in required.by_device.items() if gone & refs.keys()]
        with self._registry.write() as session:
            for twin in twins.each(session, waiting):
                agent = twins.open_upgrade(twin)
                orders: list[Assignment | AgentOrder] = [*twins.open_assignments(twin)]
                orders += [agent] if agent is not None else []
                for ordered in orders:
                    found = self._obstacle(twin, ordered)
                    if found is not None:
                        refusal = rollouts.Refusal(found.code, found.words)
                        rollouts.refuse(session, [ordered.deployment], refusal, self._clock())

    def _obstacle(self, twin: Twin, ordered: Assignment | AgentOrder) -> Obstacle | None:
        try:
            if isinstance(ordered, AgentOrder):
                runtimes = RuntimeStore(self._store)
                return wheelhouse_obstacle(runtimes, ordered.release, twin.reported, partial(self._blob, ordered.http))
            return self._bundle(twin, ordered)
        except SkerryError as error:
            return Obstacle("missing_object", str(error))

    def _bundle(self, twin: Twin, assigned: Assignment) -> Obstacle | None:
        runtime = RuntimeStore(self._store).named(assigned.runtime.sha256) if assigned.runtime is not None else ""
        if runtime is None:
            return Obstacle("missing_object", "the store lacks the runtime that it is to run with")
        order = BundleOrder(assigned.release, assigned.target, runtime)
        return obstacle(self._store, twin.reported, order, partial(self._blob, assigned.http))

    def _blob(self, http: str | None, ref: BlobRef) -> Obstacle | None:
        """What is in the way of one blob, where devices may fetch over HTTP, or may not."""
        if ref.sha256 in self.broken:
            return Obstacle("missing_object", f"object {ref.sha256[:12]} is missing or damaged in the store")
        if http is None and self.too_large(ref):
            needs, passes = ref.largest_message, self.chunk_limit
            return Obstacle("broker_limit", f"it takes messages of {needs} bytes, the broker passes on {passes}")
        return lacking(self._store, ref)

    def _lacks(self, sha256: str, required: RequiredBlobs) -> bool:
        ref = required.blobs.get(sha256)
        return ref is not None and lacking(self._store, ref) is not None
