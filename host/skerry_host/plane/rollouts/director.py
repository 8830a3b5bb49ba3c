"""Says what a device shall run: makes its next Desired, signs it, keeps the signed bytes. Publishes nothing."""

from collections.abc import Callable

from sqlalchemy.orm import Session

from skerry_agent.wire import codec, envelope
from skerry_agent.wire.twin import Assignment, Command, Desired, TransferPolicy
from skerry_host.plane.registry.records import twins
from skerry_host.plane.registry.records.twins import Twin
from skerry_host.plane.registry.tables import DeploymentRow
from skerry_host.release.sign import Signer
from skerry_host.release.store import Store


class Director:
    """Holds the director key and the store of releases.

    `http` is where devices may fetch blobs, if anywhere; `asked`: no chunk is retained, devices are to ask at once.
    """

    def __init__(
        self, signer: Signer, store: Store, clock: Callable[[], float], http: str | None = None, *, asked: bool = False
    ) -> None:
        self._signer = signer
        self._store = store
        self._clock = clock
        self._http = http
        self._asked = asked

    def assignment(self, row: DeploymentRow, policy: TransferPolicy) -> Assignment:
        """What a deployment asks of its device; raises `ReleaseError` when the release is not in the store."""
        manifest = self._store.manifest_ref(row.release)
        release = self._store.release(row.release)
        release.bundle(row.target)
        target = release.bundle(row.target).target
        return Assignment(row.model, row.release, target, manifest, row.id, policy, self._http, self._asked)

    def assign(self, session: Session, device: str, model: str, assignment: Assignment | None) -> Desired:
        """The device shall run this of a model from now on (None: nothing in particular); its other models stay."""
        twin = twins.find(session, device)
        others = [a for a in (twin.desired.assignments if twin.desired else ()) if a.model != model]
        wanted = tuple(sorted([*others, *([assignment] if assignment else [])], key=lambda a: a.model))
        desired = Desired(device, _next_generation(twin), self._clock(), wanted)
        twins.store_desired(session, desired, self._signed(envelope.DESIRED, desired))
        return desired

    def command(self, command: Command) -> bytes:
        """A signed command, as the bytes that travel."""
        return self._signed(envelope.COMMAND, command)

    def _signed(self, payload_type: str, message: object) -> bytes:
        return codec.encode(self._signer.sign(payload_type, codec.encode(message)))


def _next_generation(twin: Twin) -> int:
    """Above all that the device has accepted, also when the registry was made anew and forgot."""
    return max(twin.generation, twin.reported.generation if twin.reported else 0) + 1
