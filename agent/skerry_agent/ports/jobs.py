"""The jobs that the supervisor gives to the updater process, and its answers: one JSON line each way. Pure data."""

from typing import Literal

from msgspec import Struct

from skerry_agent.machine.records import Slot, SlotRuntime
from skerry_agent.wire.admission import DeviceFacts
from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.engines import EngineName
from skerry_agent.wire.targets import TargetName
from skerry_agent.wire.twin import Transfer, TransferPolicy

MAX_LINE_BYTES = 1024 * 1024
"""The longest job or answer: as many messages as wait to be verified, in base64."""


class VerifyMessage(Struct, frozen=True, tag="verify"):
    """Verify a signed message from the broker."""

    raw: bytes
    payload_type: str
    role: str


class VerifyMessages(Struct, frozen=True, tag="verify_all"):
    """Verify several, of which each gets an answer of its own: to start the process costs more than the signatures."""

    messages: tuple[VerifyMessage, ...]


class RuntimeOrder(Struct, frozen=True):
    """The runtime that a deployment runs with, beside its release. `manifest_file` holds its signed `manifest`.

    `folder` is that of all runtimes. `engine` is what the model is loaded with, so what a probe has to find.
    `proven`: folders that a slot runs with already, so that nothing has to be probed.
    """

    manifest: BlobRef
    manifest_file: str
    folder: str
    engine: EngineName
    proven: tuple[str, ...] = ()


class PlanJob(Struct, frozen=True, tag="plan"):
    """Verify the fetched release manifest and decide what is to be fetched. `have` maps sha256 to a file here.

    `spent` are bytes that the deployment has received already; they count against its budget. `facts` is what this
    device is, which has to meet what the bundle needs. `spare`: the target that serves where `target` cannot.
    """

    release: str
    target: str
    manifest_file: str
    have: dict[str, str]
    policy: TransferPolicy
    metered: bool = False
    force_full: bool = False
    spent: int = 0
    runtime: RuntimeOrder | None = None
    facts: DeviceFacts | None = None
    spare: str = ""


class StageJob(Struct, frozen=True, tag="stage"):
    """Verify everything again and make the bundle's folder from blobs, patches and files that are there.

    And that of its runtime, where one is ordered and not installed yet; and that of the `spare` target, if there are
    the files for it.
    """

    release: str
    target: str
    manifest_file: str
    have: dict[str, str]
    blobs_dir: str
    bundle_dir: str
    runtime: RuntimeOrder | None = None
    spare: str = ""
    spare_dir: str = ""


class FactoryJob(Struct, frozen=True, tag="factory"):
    """Verify the factory release of a model in its folder, for the first of these targets that is whole."""

    model: str
    folder: str
    targets: tuple[TargetName, ...]


class PlanAgent(Struct, frozen=True, tag="plan_agent"):
    """Verify the fetched manifest of an agent release and say which wheelhouse of it is to be fetched for this device.

    `root` is the folder of agents: what is installed there already needs no wheelhouse.
    """

    release: str
    manifest_file: str
    root: str


class InstallAgent(Struct, frozen=True, tag="install_agent"):
    """Verify everything again, install the agent beside the one that runs, and prove it on the models that serve.

    `config` is the agent.toml that it is to run with; `models` are those whose golden inputs it has to reproduce, as
    far as the agent that runs does.
    """

    release: str
    manifest_file: str
    root: str
    blobs_dir: str
    config: str
    models: tuple[str, ...] = ()


RequestKind = Literal["claim", "birth", "renewal", "move"]


class MakeRequest(Struct, frozen=True, tag="make_request"):
    """Make the keys of a request for an identity, or take those that are there for the same, and its CSRs.

    `state` is the state folder. `cert_file`: with what the request is authenticated, a claim or a birth certificate of
    the fleet of `ca_file`; empty for a renewal, which the key in `key_file` proves to be the device's own, and for a
    move, of which a person has to say whose it is.
    Without an `incarnation` it is that of the state folder, which is given one if it has none yet.
    """

    state: str
    kind: RequestKind
    incarnation: str
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


class AcceptIdentity(Struct, frozen=True, tag="accept_identity"):
    """Check the certificates that the host gave for the keys of a request, and make a folder of an identity.

    Certificates are PEM, the leaf first. `before` is the folder of the identity whose birth certificate is kept, where
    none comes. `device` is who it has to be, empty where the host decides. `now` is None while the clock is not known.
    `claim` is the sha256 of the claim that is used up by it.
    """

    state: str
    kind: RequestKind
    ca_file: str
    certificate: bytes
    birth_certificate: bytes | None = None
    before: str = ""
    device: str = ""
    now: float | None = None
    claim: str = ""


UpdaterJob = (
    VerifyMessage
    | VerifyMessages
    | PlanJob
    | StageJob
    | FactoryJob
    | MakeRequest
    | AcceptIdentity
    | PlanAgent
    | InstallAgent
)


class Payload(Struct, frozen=True, tag="payload"):
    """The exact bytes that were signed."""

    payload: bytes


class Planned(Struct, frozen=True, tag="planned"):
    """What to fetch, whether any of it is a patch, and how large the bundle becomes, with a runtime that is new.

    `spare` is what the spare bundle takes beside that: a deployment goes on without it if it does not come.
    """

    transfer: Transfer
    wanted: tuple[BlobRef, ...]
    bundle_bytes: int = 0
    spare: tuple[BlobRef, ...] = ()
    spare_bytes: int = 0


class Staged(Struct, frozen=True, tag="staged"):
    """The bundle is complete, and so is the runtime that was ordered for it.

    `spare_sha256` is the model of the spare bundle, empty where there is none.
    """

    model_sha256: str
    runtime: SlotRuntime | None = None
    spare_sha256: str = ""


class FactoryReady(Struct, frozen=True, tag="factory_ready"):
    """Every file of it is what its signed manifest says."""

    slot: Slot


class AgentReady(Struct, frozen=True, tag="agent_ready"):
    """An agent is installed in this folder and proven; `version` is what it says of itself."""

    folder: str
    version: str


class RequestMade(Struct, frozen=True, tag="request_made"):
    """CSRs in DER. `key_sha256` is of the device key's SubjectPublicKeyInfo; `birth_csr` only for a claim.

    `proof`: the key in use, or the birth key, has signed for the new one. `incarnation`: of the state folder that asks.

    Of the certificate that authenticates the request: whose it is (`principal`), and its dates.
    """

    csr: bytes
    key_sha256: str
    birth_csr: bytes | None = None
    principal: str = ""
    not_before: float = 0.0
    not_after: float = 0.0
    proof: bytes | None = None
    incarnation: str = ""


class IdentityMade(Struct, frozen=True, tag="identity_made"):
    """The identity lies in this folder, beside the one in use."""

    folder: str


class Refusal(Struct, frozen=True, tag="refusal"):
    """It was not done. `kind` decides what the machine makes of it.

    `patch_refused`: this board cannot apply the patch now, and nothing was begun. `crashed`: the updater did not live
    to answer, which only the supervisor can say.
    """

    kind: Literal["rejected", "patch_failed", "patch_refused", "failed", "crashed"]
    reason: str
    detail: str = ""


class Verified(Struct, frozen=True, tag="verified"):
    """What became of several messages, in their order."""

    answers: tuple[Payload | Refusal, ...]


Answer = Payload | Verified | Planned | Staged | FactoryReady | RequestMade | IdentityMade | AgentReady | Refusal
