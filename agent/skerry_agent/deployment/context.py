"""What all models of a device share: configuration, ports, stores and callbacks. Does nothing itself."""

from collections.abc import Callable

from msgspec import Struct

from skerry_agent.config import UNENROLLED, AgentConfig
from skerry_agent.deployment.accelerator import NoAccelerator
from skerry_agent.machine.records import Slot
from skerry_agent.ports.interfaces import Clock, Link, Post, Processes
from skerry_agent.ports.runner_protocol import Heartbeat, Result
from skerry_agent.state.blobs import BlobStore
from skerry_agent.state.runtimes import RUNTIMES, RuntimeFolders
from skerry_agent.state.slots import BundleFolders
from skerry_agent.wire.admission import DeviceFacts


class DeviceContext(Struct):
    """Everything that a unit uses and does not own. Only `config` is ever exchanged: for one with other settings.

    Callbacks: `changed`: there is something worth reporting. `collect`: the disk may hold unused files. `heartbeat`: a
    heartbeat of the runner of a model's slot. `undervoltage_since`: see the port `Meters`. `generation` of the desired
    state that was accepted last. `result`: an answer of a model, for the broker.
    `named`: what the host calls this device. `facts`: what it is, which bundles are held against before they are
    fetched. `accelerator`: that of the board.
    """

    config: AgentConfig
    clock: Clock
    post: Post
    link: Link
    processes: Processes
    blobs: BlobStore
    folders: BundleFolders
    changed: Callable[[], None]
    collect: Callable[[], None]
    heartbeat: Callable[[str, Slot, Heartbeat], None]
    undervoltage_since: Callable[[float], str | None] = lambda _at: None
    generation: Callable[[], int] = int
    result: Callable[[str, Result], None] = lambda _model, _result: None
    named: Callable[[], str] | None = None
    facts: Callable[[], DeviceFacts | None] = lambda: None
    accelerator: NoAccelerator = NoAccelerator()

    @property
    def runtimes(self) -> RuntimeFolders:
        """Those beside the base environment's."""
        return RuntimeFolders(self.config.state_dir / RUNTIMES)

    @property
    def device(self) -> str:
        """This device's id: the host's word for it, else that of agent.toml."""
        return self.named() if self.named is not None else self.config.device.id or UNENROLLED
