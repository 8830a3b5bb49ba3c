"""What the journal holds of one model: the machine's state, the slots, the deployment. Pure data."""

from enum import StrEnum

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.targets import TargetName
from skerry_agent.wire.twin import Outcome, Transfer, TransferPolicy


class State(StrEnum):
    """Where the deployment of one model stands."""

    IDLE = "idle"
    FETCHING = "fetching"
    VERIFYING = "verifying"
    STAGED = "staged"
    PROBATION = "probation"
    COMMITTED = "committed"
    ROLLING_BACK = "rolling_back"


FACTORY = "factory/"
"""What the names of factory bundles begin with; the model's name follows."""


class SlotRuntime(Struct, frozen=True):
    """The runtime that a slot's runner is given: its release, the folder that it is installed in, and its manifest."""

    name: str
    folder: str
    manifest: BlobRef


class Spare(Struct, frozen=True):
    """The bundle of a slot's release that serves while the accelerator of the slot's own cannot be used."""

    bundle: str
    target: TargetName
    model_sha256: str


class Slot(Struct, frozen=True, omit_defaults=True):
    """A bundle on the device, and the runtime that it runs with. `bundle` is the name of its folder.

    `manifest` is where its release can be had again, for another target; journals of before have none. Without a
    `runtime` it runs with that of the base environment. `spare` lies beside a bundle that needs an accelerator.
    """

    bundle: str
    release: str
    target: TargetName
    manifest_sha256: str
    model_sha256: str
    manifest: BlobRef | None = None
    runtime: SlotRuntime | None = None
    spare: Spare | None = None

    @property
    def folders(self) -> tuple[str, ...]:
        """The names of its bundles' folders."""
        return (self.bundle, self.spare.bundle) if self.spare is not None else (self.bundle,)

    def on_spare(self) -> "Slot":
        """The slot as it serves from its spare; itself where it has none."""
        if self.spare is None:
            return self
        return replace(self, bundle=self.spare.bundle, target=self.spare.target, model_sha256=self.spare.model_sha256)

    @property
    def runtime_sha256(self) -> str:
        """The hash of its runtime's manifest; empty for the base environment's."""
        return self.runtime.manifest.sha256 if self.runtime is not None else ""

    @property
    def factory(self) -> bool:
        """Whether it is the factory release, which came with the device."""
        return self.bundle.startswith(FACTORY)


class Slots(Struct, frozen=True):
    """The bundles that are kept: the one that serves, the one before it, the one on trial.

    `superseded` (`left` in the journal) was replaced by an older bundle and is kept until that one serves.
    """

    current: Slot | None = None
    previous: Slot | None = None
    candidate: Slot | None = None
    superseded: Slot | None = msgspec.field(default=None, name="left")


class Deployment(Struct, frozen=True):
    """One attempt to move this model to a release and a runtime. It has ended when `outcome` is set.

    Times are wall clock seconds.
    Blobs come from `folder` alone where one is given (a local install, `after` the host's deployment of that
    id), else from `http` where one is given, else and meanwhile from the broker. `bytes_received` are those of a fetch
    that is over: the patch's, while the full artifact is fetched in its place. `transports` (`ways` in
    the journal) brought its pieces. `asked`:
    the host retains no chunks, so they are asked for from the start. `runtime` is the manifest of the runtime that it
    shall run with, None for the base environment's.
    """

    id: str
    release: str
    target: TargetName
    manifest: BlobRef
    policy: TransferPolicy = TransferPolicy()
    transfer: Transfer | None = None
    attempts: int = 0
    bytes_received: int = 0
    ordered_at: float = 0.0
    ended_at: float | None = None
    outcome: Outcome | None = None
    reason: str = ""
    detail: str = ""
    http: str | None = None
    folder: str | None = None
    after: str = ""
    asked: bool = False
    transports: tuple[str, ...] = msgspec.field(default=(), name="ways")
    runtime: BlobRef | None = None

    @property
    def runtime_sha256(self) -> str:
        """The hash of the runtime's manifest; empty for the base environment's."""
        return self.runtime.sha256 if self.runtime is not None else ""


class Record(Struct, frozen=True, omit_defaults=True):
    """All that the journal holds of one model.

    `fallback` says why the factory release is the current one, or which rollback failed. `crashes` are those of the
    current bundle in a row, `outages` its ends in a row for which no release is to blame.
    """

    state: State = State.IDLE
    slots: Slots = Slots()
    deployment: Deployment | None = None
    crashes: int = 0
    fallback: str = ""
    outages: int = 0

    @property
    def failures(self) -> int:
        """How often in a row the current bundle could not go on, for whatever reason."""
        return self.crashes + self.outages
