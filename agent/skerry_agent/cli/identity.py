"""Builds what keeps the identity of a device, for `run`. A device that was provisioned without one needs none of it."""

from collections.abc import Callable
from pathlib import Path

from skerry_agent.config import AgentConfig, EnrolmentSection, moved
from skerry_agent.identity.asking import Way
from skerry_agent.identity.board_serial import board_serial
from skerry_agent.identity.exchange import Tools
from skerry_agent.identity.keeper import IdentityKeeper, Setup
from skerry_agent.identity.moving import Moving
from skerry_agent.ports.clock import EventQueue
from skerry_agent.ports.interfaces import Processes
from skerry_agent.state import offered
from skerry_agent.state.authority import usable_authority
from skerry_agent.state.identity import LINK, MOVED, IdentityStore, read_incarnation
from skerry_agent.supervisor.connections import DeviceLink, Place
from skerry_agent.supervisor.loop import Supervisor


def has_identity(config: AgentConfig) -> bool:
    """Whether the device has an identity of its own, or asks for one; a certificate in agent.toml is no such."""
    if config.broker.cert_file is not None or not config.broker_address.tls:
        return False
    return config.enrolment is not None or (config.state_dir / LINK).exists()


def identified_as(config: AgentConfig) -> str | None:
    """Who this device is: by its identity, where it uses one, else by agent.toml."""
    stored = IdentityStore(config.state_dir).current() if has_identity(config) else None
    return stored.identity.device if stored is not None else config.device.id


def comes_old_way(config: AgentConfig) -> bool:
    """Whether the device connects as agent.toml says: with no identity, or one that it has not come in with for good.

    The host has an identity renewed only over its own listener, and then takes the device the old way no more.
    """
    if config.before is None:
        return not has_identity(config)
    store = IdentityStore(config.state_dir)
    known = store.renewed() or store.current()
    return known is not None and known.identity.claim == MOVED


def device_link(config: AgentConfig, queue: EventQueue, will: Callable[[str, int], tuple[str, bytes]]) -> DeviceLink:
    """The link of a device; nothing connects before it is told to."""
    return DeviceLink(_place(config), queue.post, will)


def _place(config: AgentConfig) -> Place:
    return Place(config.broker_address, config.enrolment_address, _pinned(config)[0], config.agent.metered)


def take_offers(
    config: AgentConfig, queue: EventQueue, link: DeviceLink, processes: Processes, supervisor: Supervisor
) -> Moving:
    """Have a device without an identity take the one that its host offers it; what serves goes on."""

    def got() -> None:
        now = moved(config)
        if now.before is None:
            return  # its files cannot be read: the host's next order offers it again
        supervisor.on_desired = lambda _desired: None
        if supervisor.settings is not None:
            supervisor.settings.own = moved(supervisor.settings.own)
        link.place = _place(now)
        keep_identity(now, queue, link, processes, supervisor)

    state, none = config.state_dir, Path()
    said = (config.device.serial or board_serial(), config.board.name, config.device.id or "")
    way = Way("move", state, read_incarnation(state) or "", offered.authority(state), none, none, *said, claim=MOVED)
    moving = Moving(way, Tools(queue, processes, link), link, got)
    moving.changed = supervisor.identity_changed
    supervisor.identity = lambda: moving.status
    supervisor.identity_issues = lambda: tuple(filter(None, (moving.issue,)))
    supervisor.on_desired = moving.ordered
    if supervisor.desired is not None:
        moving.ordered(supervisor.desired)
    return moving


def _pinned(config: AgentConfig) -> tuple[Path, str | None]:
    """The fleet's authority, and what is wrong with its file."""
    return usable_authority(config.broker_ca or config.beside("fleet-ca.pem"), config.state_dir)


def keep_identity(
    config: AgentConfig, queue: EventQueue, link: DeviceLink, processes: Processes, supervisor: Supervisor
) -> IdentityKeeper:
    """Begin to keep it; the supervisor shows how it stands."""
    keeper = IdentityKeeper(setup_of(config), Tools(queue, processes, link), supervisor)
    damage = tuple(filter(None, (_pinned(config)[1],)))
    supervisor.identity, supervisor.reconnect = lambda: keeper.status, keeper.reconnect
    supervisor.identity_issues = lambda: (*damage, *keeper.issues, *_other_name(config, keeper.status.device))
    keeper.start()
    return keeper


def _other_name(config: AgentConfig, device: str) -> tuple[str, ...]:
    """The host's word for this device counts; that agent.toml has another may be somebody's mistake."""
    if config.device.id in {None, device} or not device:
        return ()
    return (f"device.id of agent.toml is {config.device.id}, and the host has enrolled this device as {device}",)


def setup_of(config: AgentConfig) -> Setup:
    """What agent.toml and the board say of it."""
    stored = IdentityStore(config.state_dir).current()
    section = config.enrolment or EnrolmentSection("")
    known = stored.identity.incarnation if stored is not None else ""
    return Setup(
        state=config.state_dir,
        incarnation=known or read_incarnation(config.state_dir) or "",
        ca_file=_pinned(config)[0],
        enrols=config.enrolment is not None,
        claim_file=config.beside(section.claim_file),
        key_file=config.beside(section.key_file),
        serial=config.device.serial or board_serial(),
        board=config.board.name,
        spread_s=section.spread_s,
    )
