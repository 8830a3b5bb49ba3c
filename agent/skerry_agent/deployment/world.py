"""What every model of a device shares: configuration, ports, what is on disk, and who is told what. Does nothing."""

from collections.abc import Callable

from msgspec import Struct

from skerry_agent.config import AgentConfig
from skerry_agent.machine.records import Slot
from skerry_agent.ports.interfaces import Clock, Link, Post, Processes
from skerry_agent.ports.runner_protocol import Heartbeat
from skerry_agent.state.blobs import BlobStore
from skerry_agent.state.slots import BundleFolders


class World(Struct, frozen=True):
    """The surroundings of a unit.

    `changed`: there is something worth reporting. `collect`: the disk may hold what nobody needs. `heartbeat`: what the
    runner of a model's slot says of the last second.
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
