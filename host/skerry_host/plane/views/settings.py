"""What is set on a device from afar, what it has, and where the two differ, as pages and the command line show it."""

from collections.abc import Iterator

from msgspec import Struct

from skerry_agent.wire.settings import SettingsReport, is_kept, shown
from skerry_host.plane.registry.records.settings import Wanted
from skerry_host.plane.registry.records.twins import Twin

KEPT_HERE = "kept_here"
FOREIGN = "foreign_order"
OWN = "agent.toml's"
"""What runs where nothing is set."""


class SettingLine(Struct, frozen=True):
    """One key. `wanted` is None where nothing is set any more, `running` where the device has not said it."""

    key: str
    wanted: str | None
    running: str | None
    differs: bool
    why: str = ""


class SettingsView(Struct, frozen=True):
    """The newest order of settings of a device; `knows` is False where its agent knows none.

    `outcome` is `waiting` until it is signed, `sent` until the device has said something of it, then the device's. It
    is `foreign_order` where nothing is set here, and the device has kept what another registry has ordered.
    """

    order: str = ""
    outcome: str = ""
    code: str = ""
    detail: str = ""
    ordered: float | None = None
    heard: float | None = None
    lines: tuple[SettingLine, ...] = ()
    keeps: tuple[str, ...] = ()
    knows: bool | None = None

    @property
    def differing(self) -> int:
        """How many keys are not as wanted."""
        return sum(line.differs for line in self.lines)


def settings_view(twin: Twin, wanted: Wanted | None) -> SettingsView:
    """Of one device."""
    said = twin.reported.settings if twin.reported is not None else None
    knows = said is not None if twin.reported is not None else None
    keeps = said.keeps if said is not None else ()
    if wanted is None:
        foreign = said is not None and said.kept
        return SettingsView(outcome=FOREIGN if foreign else "", keeps=keeps, knows=knows)
    outcome = wanted.outcome or ("sent" if wanted.signed else "waiting")
    return SettingsView(
        wanted.newest.id,
        outcome,
        wanted.code,
        wanted.detail,
        wanted.ordered,
        wanted.heard,
        tuple(_lines(wanted, said, keeps)),
        keeps,
        knows,
    )


def _lines(wanted: Wanted, said: SettingsReport | None, keeps: tuple[str, ...]) -> Iterator[SettingLine]:
    """Of each key of the newest order, and of the one that the device speaks of."""
    differences = {each.key: each for each in said.differences} if said is not None else {}
    spoken_of = next((each.values for each in wanted.orders if said is not None and each.id == said.id), None)
    for key in sorted({*wanted.newest.values, *differences, *(spoken_of or {})}):
        should_be = shown(wanted.newest.values[key]) if key in wanted.newest.values else None
        if key in differences:
            running, why = differences[key].running, differences[key].why
        elif spoken_of is not None:
            running, why = shown(spoken_of[key]) if key in spoken_of else OWN, ""
        else:
            running, why = None, KEPT_HERE if is_kept(key, keeps) else ""
        yield SettingLine(key, should_be, running, running != should_be, why)
