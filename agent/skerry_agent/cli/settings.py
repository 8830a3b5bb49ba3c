"""Ties the settings from afar to a supervisor, for `run`: what they change in it, and what it then must show."""

from skerry_agent.config import AgentConfig
from skerry_agent.deployment.unit import TRYING
from skerry_agent.ports.interfaces import Clock
from skerry_agent.supervisor.connections import DeviceLink
from skerry_agent.supervisor.loop import Supervisor
from skerry_agent.supervisor.settings_effects import Effects, Parts, feeds, models_of, takes_connection
from skerry_agent.supervisor.settings_keeper import SettingsKeeper, Ties
from skerry_agent.supervisor.settings_proofs import HostHears, Proof, Serves, Settled

GOODBYE_S = 0.3
"""For the last words to the broker of before."""


def keep_settings(keeper: SettingsKeeper, supervisor: Supervisor, clock: Clock, link: DeviceLink) -> None:
    """Begin to take what the host sets."""
    leaving = False

    def relocate() -> None:
        nonlocal leaving
        leaving = False
        config = supervisor.config
        link.relocate(config.broker_address, metered=config.agent.metered)
        supervisor.reconnect()

    def leave(_config: AgentConfig) -> None:
        nonlocal leaving
        leaving = True
        supervisor.leave_broker()
        clock.after(GOODBYE_S, relocate)

    def has_left() -> bool:
        """Whether the link that is used leads where it shall: a device that moves may be back on its old way."""
        return not leaving and link.broker == supervisor.config.broker_address

    def proofs(keys: set[str]) -> list[Proof]:
        units = supervisor.units
        touched = sorted(models_of(keys, units))
        runners: list[Proof] = [Serves(units[each], clock, feeds=feeds(each, keys)) for each in touched]
        hears: list[Proof] = [HostHears(link, clock, supervisor.report_now, has_left)] if takes_connection(keys) else []
        return [Settled(clock), *hears, *runners]

    def busy(keys: set[str]) -> bool:
        touched = models_of(keys, supervisor.units)
        return supervisor.upgrades.on_trial or any(supervisor.units[model].record.state in TRYING for model in touched)

    def models() -> set[str]:
        return {*supervisor.units, *supervisor.config.models}

    effects = Effects(Parts(lambda: supervisor.units, supervisor.listeners, supervisor.use, leave))
    supervisor.settings = keeper
    keeper.begin(Ties(effects, proofs, busy, models, supervisor.identity_changed))
    if supervisor.desired is not None:
        keeper.order(supervisor.desired.settings)
