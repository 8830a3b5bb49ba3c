"""A device's twin: Desired (what the host wants, with a generation) and Reported (what the device says, echoing it).

Also the birth and death certificate, and commands. Times are seconds since 1970 as the sender's clock has them.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from skerry_agent.wire.admission import DeviceFacts
from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.enrolment import Offer
from skerry_agent.wire.names import MAX_COUNT, Count, DeviceId, Incarnation, ModelName, ReleaseName, Sha256
from skerry_agent.wire.policies import BaseUrl as BaseUrl  # noqa: PLC0414  (who has a twin has its policies)
from skerry_agent.wire.policies import Fallback as Fallback  # noqa: PLC0414
from skerry_agent.wire.policies import Minute as Minute  # noqa: PLC0414
from skerry_agent.wire.policies import Outcome as Outcome  # noqa: PLC0414
from skerry_agent.wire.policies import Transfer as Transfer  # noqa: PLC0414
from skerry_agent.wire.policies import TransferPolicy as TransferPolicy  # noqa: PLC0414
from skerry_agent.wire.refusals import RefusedOrder
from skerry_agent.wire.settings import SettingsOrder, SettingsReport
from skerry_agent.wire.targets import TargetName, TargetWord
from skerry_agent.wire.upgrades import AgentOrder, UpgradeReport

StateName = Literal["idle", "fetching", "verifying", "staged", "probation", "committed", "rolling_back"]


class Assignment(Struct, frozen=True):
    """One model that the device shall run. `deployment` is new whenever it is ordered anew.

    `http`: where blobs may be had as `<http>/<sha256>` with byte ranges, beside their chunks. `asked`: chunks are not
    retained, so a device asks for them at once (`asking`), not only when they do not come. `runtime`: the manifest of
    the runtime to run it with (`runtimes`), None for that of the base environment; older agents know no other.
    """

    model: ModelName
    release: ReleaseName
    target: TargetName
    manifest: BlobRef
    deployment: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
    policy: TransferPolicy = TransferPolicy()
    http: BaseUrl | None = None
    asked: bool = False
    runtime: BlobRef | None = None

    def is_in(self, slot: "SlotReport | None") -> bool:
        """Whether a slot holds just that: the same release, with the same runtime, and that is there."""
        if slot is None or slot.runtime_gone:
            return False
        runtime = self.runtime.sha256 if self.runtime is not None else ""
        return (slot.manifest_sha256, slot.runtime_sha256) == (self.manifest.sha256, runtime)


class Desired(Struct, frozen=True):
    """Everything that the host wants of one device. A smaller generation than one already accepted is ignored.

    `incarnation` names the state folder that it is meant for, of a device that has enrolled with it; others get none.
    A model that is not assigned stays as it is, unless `removed` names it; older agents keep it all the same. `offer`
    stands until a device that has no identity has one. `agent`: None where it is to stay the agent that it is.
    `settings` are what is set from afar; without, a device keeps what it has.
    """

    device: DeviceId
    generation: Annotated[int, Meta(ge=1, le=MAX_COUNT)]
    issued: float
    assignments: Annotated[tuple[Assignment, ...], Meta(max_length=16)] = ()
    expires: float | None = None
    incarnation: Incarnation | None = None
    removed: Annotated[tuple[ModelName, ...], Meta(max_length=16)] = ()
    offer: Offer | None = None
    agent: AgentOrder | None = None
    settings: SettingsOrder | None = None


class Command(Struct, frozen=True):
    """A remote order that is not a state: answered once, by its id.

    `sequence` rises with each command to a device, so that an older one is never run after a newer; hosts before it was
    added give none. After `expires` it is refused. `incarnation` names the state folder that it is meant for, once
    devices have told the host theirs. `seconds` is how long the device is to be watched, 0 to end that.
    """

    device: DeviceId
    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
    kind: str
    issued: float
    model: ModelName | None = None
    sequence: Count | None = None
    expires: float | None = None
    incarnation: Incarnation | None = None
    seconds: Annotated[float, Meta(ge=0, le=86_400)] | None = None


class CommandResult(Struct, frozen=True):
    """The answer to a command; `code` says why it was refused or failed (`refusals`), agents before it gave none."""

    device: DeviceId
    id: str
    ok: bool
    detail: str = ""
    code: str = ""


class SlotReport(Struct, frozen=True):
    """What one slot holds. `runtime` is the release of the runtime that it runs with, `runtime_sha256` its manifest.

    Both are empty for the base environment's. `runtime_gone`: it is not on the device any more, or for another Python,
    so that the slot runs with the base environment's. `beside`: the target of another bundle of the same release that
    it holds, for the time in which the accelerator of one of them cannot be used; `target` is the one that serves.
    """

    release: ReleaseName
    target: TargetWord
    manifest_sha256: Sha256
    model_sha256: Sha256
    runtime: str = ""
    runtime_sha256: str = ""
    runtime_gone: bool = False
    beside: TargetWord | None = None


class DeploymentReport(Struct, frozen=True):
    """One device's attempt: where it is, and once it has ended, how and why. Bytes are those received for it.

    `transports` (`ways` in JSON) brought its pieces, in the order of their first use: retained, asked, http, folder.
    """

    id: str
    release: ReleaseName
    state: StateName
    outcome: Outcome | None = None
    reason: str = ""
    detail: str = ""
    transfer: Transfer | None = None
    bytes_received: Count = 0
    bytes_expected: Count = 0
    seconds: float = 0.0
    attempts: Count = 0
    gap_us: float | None = None
    transports: tuple[str, ...] = msgspec.field(default=(), name="ways")


class RuntimeReport(Struct, frozen=True):
    """What runs a model: name and version, and what it hands the work to (empty: its own kernels)."""

    name: str
    version: str
    delegate: str = ""


class ModelReport(Struct, frozen=True):
    """One model on the device: the machine's state, its slots, the latest deployment, and what runs it now."""

    state: StateName
    serving: bool
    current: SlotReport | None = None
    previous: SlotReport | None = None
    candidate: SlotReport | None = None
    deployment: DeploymentReport | None = None
    runtime: RuntimeReport | None = None


class Reported(Struct, frozen=True):
    """What the device says of itself. `generation` echoes the newest Desired that it has accepted.

    `patch_format` is the newest version of the patch format that it applies; agents that do not say know only 1.
    So does `manifest_schema` of the newest schema of a manifest that it reads (`schemas`).
    `refused` are the orders that it refused last (`refusals`), oldest first. `facts`: what it is (`admission`).
    `settings` is what became of those that were set from afar; agents that do not know any say nothing of them.
    """

    device: DeviceId
    boot: str
    sequence: Count
    generation: Count
    agent: str
    board: str
    targets: tuple[TargetWord, ...]
    models: dict[str, ModelReport] = {}
    issues: tuple[str, ...] = ()
    patch_format: Count = 1
    refused: Annotated[tuple[RefusedOrder, ...], Meta(max_length=16)] = ()
    manifest_schema: Count = 1
    upgrade: UpgradeReport | None = None
    facts: DeviceFacts | None = None
    settings: SettingsReport | None = None


class DeviceState(Struct, frozen=True):
    """Birth (`online`) and last will (not `online`) of one connection of one boot."""

    device: DeviceId
    boot: str
    sequence: Count
    online: bool
    agent: str = ""
