"""Builds what keeps the identity of a device, for `run`. A device that was provisioned without one needs none of it."""

from collections.abc import Callable
from pathlib import Path

from skerry_agent.config import AgentConfig, EnrolmentSection
from skerry_agent.identity.asking import Tools
from skerry_agent.identity.board_serial import board_serial
from skerry_agent.identity.keeper import IdentityKeeper, Setup
from skerry_agent.ports.clock import EventQueue
from skerry_agent.ports.interfaces import Processes
from skerry_agent.state.authority import usable_authority
from skerry_agent.state.identity import LINK, IdentityStore, read_incarnation
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


def device_link(config: AgentConfig, queue: EventQueue, will: Callable[[str, int], tuple[str, bytes]]) -> DeviceLink:
    """The link of such a device; nothing connects before the keeper says so."""
    place = Place(config.broker_address, config.enrolment_address, _pinned(config)[0], config.agent.metered)
    return DeviceLink(place, queue.post, will)


def _pinned(config: AgentConfig) -> tuple[Path, str | None]:
    """The fleet's authority, and what is wrong with its file."""
    return usable_authority(config.broker_ca or config.beside("fleet-ca.pem"), config.state_dir)


def keep_identity(
    config: AgentConfig, queue: EventQueue, link: DeviceLink, processes: Processes, supervisor: Supervisor
) -> IdentityKeeper:
    """Begin to keep it; the supervisor shows how it stands."""
    link.acked_by(supervisor.acked)
    keeper = IdentityKeeper(setup_of(config), Tools(queue, processes, link), supervisor)
    damage = tuple(filter(None, (_pinned(config)[1],)))
    supervisor.identity = lambda: keeper.status
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
