"""Builds the supervisor with its real adapters and runs it until SIGTERM or SIGINT."""

import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from skerry_agent import __version__, log
from skerry_agent.cli.calibrated import calibrated
from skerry_agent.cli.identity import (
    comes_old_way,
    device_link,
    has_identity,
    identified_as,
    keep_identity,
    take_offers,
)
from skerry_agent.cli.security import security_of
from skerry_agent.cli.settings import keep_settings
from skerry_agent.config import UNENROLLED, AgentConfig, by_file, may_move
from skerry_agent.deployment.children import RealProcesses
from skerry_agent.identity.ports import Events
from skerry_agent.meters import BoardMeters
from skerry_agent.ports.clock import EventQueue, use_time_zone
from skerry_agent.ports.interfaces import Processes
from skerry_agent.supervisor.connections import DeviceLink, QuickLink
from skerry_agent.supervisor.link import METERED_KEEPALIVE_S
from skerry_agent.supervisor.local import listen
from skerry_agent.supervisor.loop import Supervisor, device_state, new_boot_id, state_folder
from skerry_agent.supervisor.notify import Notifier
from skerry_agent.supervisor.settings_keeper import SettingsKeeper
from skerry_agent.wire import codec, topics

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
ENDED, ENDED_FOR_ANOTHER = 0, -1
"""How `run` ends: in order, and in order so that another agent starts in its place."""


def run(config: AgentConfig) -> int:
    """Run until SIGTERM or SIGINT, or until another agent is to start."""
    boot = new_boot_id()
    output = log.start(config.agent.log_level)
    _log_start(config, boot)
    state = state_folder(config)
    queue = EventQueue()
    keeper = SettingsKeeper(calibrated(config.own or config), queue)
    config = keeper.config
    use_time_zone(config.agent.time_zone)

    def will(device: str, connection: int) -> tuple[str, bytes]:
        return topics.state(device), codec.encode(device_state(device, boot, connection, online=False))

    link = device_link(config, queue, will)
    processes = RealProcesses(queue.post, config.trust_file, config.state_dir)
    supervisor = Supervisor(config, queue, link, processes, BoardMeters(config.board), boot)
    supervisor.log_place = output.place()
    told: list[int] = []

    def tell(number: int, _frame: FrameType | None) -> None:
        told.append(number)
        queue.post(supervisor.stop)

    for number in STOP_SIGNALS:
        signal.signal(number, tell)
    ended = ENDED

    def end_for_another() -> None:
        nonlocal ended
        ended = ENDED_FOR_ANOTHER
        supervisor.stop()

    supervisor.upgrades.enabled = end_for_another
    supervisor.start()
    door = _open_local_socket(state, queue, supervisor)
    link.acked_by(supervisor.acked)
    keep_settings(keeper, supervisor, queue, link)
    if has_identity(config):
        keep_identity(config, queue, link, processes, supervisor)
    if comes_old_way(config):
        heard = _old_way(config, queue, link, processes, supervisor)
        old_will = lambda device, _: will(device, link.connection)  # noqa: E731
        link.go_old_way(lambda: link_of(by_file(supervisor.config), old_will), heard)
    Notifier().begin(queue)
    queue.run()
    link.stop()
    if door is not None:
        door.close()
    log.stop()
    use_time_zone(None)  # an agent that starts in the place of this one begins with the system's
    return ENDED if _was_told(told) else ended


def _was_told(told: list[int]) -> bool:
    """Whether somebody has told this process to end; who does so from now on ends it at once."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    return bool(told)


def _old_way(
    config: AgentConfig, queue: EventQueue, link: DeviceLink, processes: Processes, supervisor: Supervisor
) -> Events:
    """What is heard as agent.toml says; of a device that has no identity, its host's offer of one among it."""
    message = supervisor.message
    if may_move(config) and not has_identity(config):
        moving = take_offers(config, queue, link, processes, supervisor)

        def message(topic: str, payload: bytes) -> None:
            if not moving.message(topic, payload):
                supervisor.message(topic, payload)

    return Events(supervisor.link_up, message, lambda _kind, _detail: None)


def _log_start(config: AgentConfig, boot: str) -> None:
    """Who this is and what it works with. The broker's address without the password."""
    log.info(
        "the agent starts",
        version=__version__,
        device=identified_as(config) or "not enrolled",
        board=config.board.name,
        targets=",".join(config.board.targets),
        boot=boot,
        broker=str(config.broker_address),
        state=config.state_dir,
    )


def link_of(config: AgentConfig, will: Callable[[str, int], tuple[str, bytes]]) -> QuickLink:
    """The link of a device that agent.toml names.

    What it cannot use of its files it says when it connects: the models serve all the same.
    """
    device = config.device.id or UNENROLLED
    link = QuickLink(config.broker_address, device, lambda number: will(device, number), security_of(config))
    if config.agent.metered:
        link.keepalive_s = METERED_KEEPALIVE_S
    return link


def _open_local_socket(state: Path, queue: EventQueue, supervisor: Supervisor) -> socket.socket | None:
    """The local socket; without one, on a disk that takes nothing, the device serves all the same."""
    try:
        return listen(state, queue.post, supervisor.local)
    except OSError as error:
        log.warning("no local commands: their socket cannot be made", detail=error.strerror)
        return None
