"""Where the supervisor asks for upgrades of the agent: most devices never have one, and load no `agent_upgrade`.

That is loaded when there is a record of agents on the disk, or when the host orders one. Decides nothing itself.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from skerry_agent.deployment.context import DeviceContext
from skerry_agent.deployment.unit import Unit
from skerry_agent.wire.upgrades import AgentOrder, UpgradeReport

if TYPE_CHECKING:
    from skerry_agent.supervisor.agent_upgrade import AgentUpgrade

AGENTS, COPIES = "agents", ("record.json", "record.second.json")
"""As `launch.files` has them, which is not loaded for this."""


class Upgrades:
    """The upgrades of a device's agent. Does nothing until it is `enabled`.

    `enabled` is what ends this supervisor so that the launcher runs: only a resident one has that. While the device is
    `busy`, it waits with that.
    """

    def __init__(self, context: DeviceContext, units: Mapping[str, Unit], busy: Callable[[], bool]) -> None:
        self.enabled: Callable[[], None] | None = None
        self.own: str | None = None
        self.work: AgentUpgrade | None = None
        self._was_linked = False
        self._context, self._units, self._busy = context, units, busy

    def start(self) -> None:
        """Take up where the record stands, where there is one."""
        try:
            there = any((self._context.config.state_dir / AGENTS / name).exists() for name in COPIES)
        except OSError:  # the disk cannot tell now: whoever reads it says so
            there = True
        if there:
            self._load()

    def _load(self) -> None:
        if self.work is None and self.enabled is not None:
            from skerry_agent.supervisor.agent_upgrade import AgentUpgrade  # noqa: PLC0415 - see above

            self.work = AgentUpgrade(self._context, self._units, self.enabled, self._busy, self.own)
            self.work.start()
            if self._was_linked:
                self.work.link_up()

    def order(self, order: AgentOrder | None) -> None:
        """What the host wants now; None where the agent is to stay what it is."""
        if order is not None:
            self._load()
        if self.work is not None:
            self.work.order(order)

    def link_up(self) -> None:
        """The broker is there (again)."""
        self._was_linked = True
        if self.work is not None:
            self.work.link_up()

    def message(self, topic: str, payload: bytes) -> None:
        """Something came from the broker."""
        if self.work is not None:
            self.work.message(topic, payload)

    def reported(self, token: int | None) -> None:
        """A reported state was sent under this token."""
        if self.work is not None:
            self.work.reported(token)

    def acked(self, token: int) -> None:
        """The broker has taken a message."""
        if self.work is not None:
            self.work.acked(token)

    @property
    def on_trial(self) -> bool:
        """Whether this very agent has yet to show that it is healthy, so that nothing else is to be tried now."""
        return self.work is not None and self.work.on_trial

    @property
    def active(self) -> bool:
        """Whether an upgrade is under way, so that nothing on the disk may be removed."""
        return self.work is not None and self.work.active

    @property
    def issues(self) -> tuple[str, ...]:
        """What is wrong with the agent on this device."""
        return self.work.issues if self.work is not None else ()

    def report(self) -> UpgradeReport | None:
        """For twin and status; None of a device whose agent was never upgraded."""
        return self.work.report() if self.work is not None else None

    def collect(self) -> None:
        """Remove the agents that nothing names."""
        if self.work is not None:
            self.work.collect()
