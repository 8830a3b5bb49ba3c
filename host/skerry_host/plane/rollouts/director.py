"""Writes and signs the next desired state of a device and keeps the signed bytes in the registry. Publishes nothing."""

from collections.abc import Callable
from dataclasses import replace

from msgspec.structs import replace as with_fields
from sqlalchemy.orm import Session

from skerry_agent.wire import codec, envelope
from skerry_agent.wire.enrolment import Attest
from skerry_agent.wire.names import MAX_COUNT
from skerry_agent.wire.twin import Assignment, Command, Desired, Reported, TransferPolicy
from skerry_agent.wire.upgrades import AgentOrder
from skerry_host.fleet.policy import Policy
from skerry_host.plane.errors import PlaneError
from skerry_host.plane.registry.records import identities, moves, settings, twins
from skerry_host.plane.registry.records.twins import AGENT, Twin
from skerry_host.plane.registry.tables import DeploymentRow
from skerry_host.release.obstacles import BundleOrder, Obstacle, lacking, obstacle, unmet, wheelhouse_obstacle
from skerry_host.release.runtime_store import RuntimeStore
from skerry_host.release.sign import Signer
from skerry_host.release.store import Store


class Director:
    """Holds the director key and the store of releases.

    `http` is where devices may fetch blobs, if anywhere; `asked`: the broker retains no chunk, so devices request each.
    """

    def __init__(
        self, signer: Signer, store: Store, clock: Callable[[], float], http: str | None = None, *, asked: bool = False
    ) -> None:
        self._signer = signer
        self._store = store
        self._runtimes = RuntimeStore(store)
        self._clock = clock
        self._http = http
        self._asked = asked

    def order(self, row: DeploymentRow, policy: Policy) -> Assignment | AgentOrder:
        """What a deployment orders of its device: a model, or the agent itself. Raises `ReleaseError`."""
        return self.agent_order(row, policy) if row.model == AGENT else self.assignment(row, policy.transfer)

    def agent_order(self, row: DeploymentRow, policy: Policy) -> AgentOrder:
        """The agent that a deployment gives its device; raises `ReleaseError` when the store lacks the release."""
        self._runtimes.of_kind(row.release, "agent")
        manifest = self._runtimes.manifest_ref(row.release)
        return AgentOrder(row.release, manifest, row.id, policy.trial_s, policy.transfer, self._http, self._asked)

    def assignment(self, row: DeploymentRow, policy: TransferPolicy) -> Assignment:
        """The assignment that a deployment gives its device; raises `ReleaseError` when the store lacks the release."""
        manifest = self._store.manifest_ref(row.release)
        release = self._store.release(row.release)
        release.bundle(row.target)
        target = release.bundle(row.target).target
        runtime = self._runtimes.manifest_ref(row.runtime) if row.runtime else None
        return Assignment(row.model, row.release, target, manifest, row.id, policy, self._http, self._asked, runtime)

    def obstacle(self, row: DeploymentRow, reported: Reported | None) -> Obstacle | None:
        """Why a device could not get what a deployment needs, or could not run it. Raises `ReleaseError`."""
        if row.model == AGENT:
            return wheelhouse_obstacle(self._runtimes, row.release, reported, lambda ref: lacking(self._store, ref))
        bundle = BundleOrder(row.release, row.target, row.runtime)
        found = obstacle(self._store, reported, bundle, lambda ref: lacking(self._store, ref))
        runtime = self._runtimes.manifest(row.runtime) if row.runtime else None
        return found or unmet(self._store.release(row.release), row.target, reported, runtime)

    def assign(self, session: Session, device: str, model: str, assignment: Assignment | None) -> Desired:
        """Replace the assignment of one model in the device's desired state (None: remove it); other models stay.

        Raises `SkerryError` when there can be no such desired state.
        """
        twin = twins.find(session, device)
        others = [a for a in (twin.desired.assignments if twin.desired else ()) if a.model != model]
        wanted = tuple(sorted([*others, *([assignment] if assignment else [])], key=lambda a: a.model))
        return self._order(session, twin, wanted, _still_removed(twin, wanted))

    def upgrade(self, session: Session, device: str, order: AgentOrder | None) -> Desired:
        """Replace the order for the agent itself; None where it is to stay what it is. Raises as `assign` does."""
        twin = twins.find(session, device)
        desired = twin.desired
        assigned, removed = (desired.assignments, desired.removed) if desired else ((), ())
        return self._order(session, replace(twin, desired=_with_agent(twin, order)), assigned, removed)

    def remove(self, session: Session, device: str, model: str) -> Desired:
        """Want a model off a device, with whatever is assigned of it. Raises `SkerryError` as `assign` does."""
        twin = twins.find(session, device)
        assigned = twin.desired.assignments if twin.desired else ()
        removed = {*(twin.desired.removed if twin.desired else ()), model}
        return self._order(session, twin, tuple(a for a in assigned if a.model != model), tuple(sorted(removed)))

    def resign(self, session: Session, device: str) -> None:
        """Sign what is desired of a device anew, for the state folder that it has enrolled with, if anything is."""
        if twins.find(session, device).desired is not None or settings.order(session, device) is not None:
            self.offer(session, device)

    def offer(self, session: Session, device: str) -> None:
        """The same also where nothing was desired yet, with the offer that now stands, or none."""
        twin = twins.find(session, device)
        desired = twin.desired
        self._order(session, twin, desired.assignments if desired else (), desired.removed if desired else ())

    def tell(self, session: Session, device: str) -> None:
        """Sign what is desired of a device anew, with what is now set on it; also where nothing was desired yet."""
        self.offer(session, device)

    def attest(self, device: str, nonce: str) -> bytes:
        """The host's time, signed, for whoever has just made this nonce; as the bytes that are sent."""
        return self._signed(envelope.ATTEST, Attest(device, nonce, self._clock()))

    def _order(self, session: Session, twin: Twin, wanted: tuple[Assignment, ...], removed: tuple[str, ...]) -> Desired:
        now, incarnation = self._clock(), identities.incarnation(session, twin.device)
        generation = next_generation(twin.device, twin.generation, now)
        offer = moves.offer(session, twin.device) if incarnation is None else None
        wished = settings.order(session, twin.device)
        desired = Desired(
            device=twin.device,
            generation=generation,
            issued=now,
            assignments=wanted,
            incarnation=incarnation,
            removed=removed,
            offer=offer,
            settings=wished,
            agent=twin.desired.agent if twin.desired is not None else None,
        )
        twins.store_desired(session, desired, self._signed(envelope.DESIRED, desired))
        return desired

    def command(self, command: Command) -> bytes:
        """A signed command, as the bytes that are sent."""
        return self._signed(envelope.COMMAND, command)

    def _signed(self, payload_type: str, message: Desired | Command | Attest) -> bytes:
        """What a device could not read is not signed, wherever a part of it came from."""
        payload = codec.encode(message)
        codec.decode(payload, type(message))
        return codec.encode(self._signer.sign(payload_type, payload))


def _with_agent(twin: Twin, order: AgentOrder | None) -> Desired:
    """What is desired of a device, or nothing yet, with an order for its agent."""
    return with_fields(twin.desired or Desired(twin.device, 1, 0.0), agent=order)


def _still_removed(twin: Twin, wanted: tuple[Assignment, ...]) -> tuple[str, ...]:
    """What is assigned anew is wanted again."""
    assigned = {each.model for each in wanted}
    return tuple(model for model in (twin.desired.removed if twin.desired else ()) if model not in assigned)


def next_generation(device: str, signed: int, now: float) -> int:
    """The generation after the newest that was `signed` for a device: also in a registry that was made anew.

    It is the host's clock (in milliseconds) wherever that goes on, so no device has to say what it has accepted. Raises
    `PlaneError` where there is none above.
    """
    made = max(signed + 1, int(now * 1000))
    if 1 <= made <= MAX_COUNT:
        return made
    hint = "its row in the registry, or this host's clock, is damaged: enrol the device again under another name"
    raise PlaneError(f"device {device} can be given no generation above {signed}", hint=hint, code="generation")
