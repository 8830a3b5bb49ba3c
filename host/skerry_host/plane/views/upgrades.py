"""What is shown of a device's agent: which one is wanted, which runs, and what became of the latest upgrade."""

from msgspec import Struct

from skerry_host.plane.registry.records.twins import Twin, open_upgrade


class UpgradeView(Struct, frozen=True):
    """`wanted` and `runs` are releases of the agent, empty where none is wanted, and for the base environment's.

    `state` is that of an upgrade under way; `outcome`, `reason` and `detail` are of the latest that has ended.
    """

    wanted: str = ""
    runs: str = ""
    attempted: str = ""
    state: str = ""
    outcome: str = ""
    reason: str = ""
    detail: str = ""

    @property
    def known(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.wanted or self.runs or self.attempted)


def upgrade_view(twin: Twin) -> UpgradeView:
    """From what a device says, and what the host wants of it."""
    order, said = open_upgrade(twin), twin.reported.upgrade if twin.reported else None
    wanted = order.release if order is not None else ""
    if said is None:
        return UpgradeView(wanted)
    state = said.state if said.outcome is None and said.release else ""
    return UpgradeView(wanted, said.runs, said.release, state, said.outcome or "", said.reason, said.detail)
