"""An upgrade of the agent itself: what the host orders in the desired state, and what a device reports of it.

The manifest that an order names is that of an agent release (`wire.runtimes`), signed by the release key.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.names import Count, ReleaseName
from skerry_agent.wire.policies import BaseUrl, Outcome, TransferPolicy

UpgradeState = Literal["idle", "fetching", "installing", "waiting", "trial"]
DEFAULT_DEADLINE_S = 300.0


class AgentOrder(Struct, frozen=True, omit_defaults=True):
    """The agent that a device shall run. `deployment` is new whenever it is ordered anew: a failed one is not repeated.

    `deadline_s`: so soon after each of its first starts the new agent must be healthy. `policy`, `http` and `asked` are
    as those of an `Assignment`.
    """

    release: ReleaseName
    manifest: BlobRef
    deployment: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
    deadline_s: Annotated[float, Meta(ge=1, le=86_400)] = DEFAULT_DEADLINE_S
    policy: TransferPolicy = TransferPolicy()
    http: BaseUrl | None = None
    asked: bool = False


class UpgradeReport(Struct, frozen=True, omit_defaults=True):
    """The latest upgrade of a device's agent: where it is, and once it has ended, how and why.

    `runs` is the release of the agent that runs, empty for that of the base environment; its version is in the twin
    (`Reported.agent`). Bytes are those received for the upgrade.
    """

    deployment: str = ""
    release: str = ""
    state: UpgradeState = "idle"
    outcome: Outcome | None = None
    reason: str = ""
    detail: str = ""
    runs: str = ""
    bytes_received: Count = 0
    bytes_expected: Count = 0
    transports: tuple[str, ...] = msgspec.field(default=(), name="ways")
