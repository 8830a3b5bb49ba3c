"""What is set on a device from afar, what it has, and where the two differ, as pages and the command line show it."""

from collections.abc import Iterator

from msgspec import Struct

from skerry_agent.wire.settings import SettingsReport, is_kept, shown
from skerry_host.plane.registry.records.settings import Wanted
from skerry_host.plane.registry.records.twins import Twin

KEPT_HERE = "kept_here"


class SettingLine(Struct, frozen=True):
    """One key. `wanted` is None where nothing is set any more, `running` where the device has not said it."""

    key: str
    wanted: str | None
    running: str | None
    differs: bool
    why: str = ""


class SettingsView(Struct, frozen=True):
    """The newest order of settings of a device; `knows` is False where its agent knows none.

    `outcome` is `ordered` until it is signed, `sent` until the device has said something of it, then the device's.
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
        return SettingsView(keeps=keeps, knows=knows)
    outcome = wanted.outcome or ("sent" if wanted.signed else "ordered")
    told = said if said is not None and said.id == wanted.newest.id else None
    return SettingsView(
        wanted.newest.id,
        outcome,
        wanted.code,
        wanted.detail,
        wanted.ordered,
        wanted.heard,
        tuple(_lines(wanted, told, keeps)),
        keeps,
        knows,
    )


def _lines(wanted: Wanted, told: SettingsReport | None, keeps: tuple[str, ...]) -> Iterator[SettingLine]:
    differences = {each.key: each for each in told.differences} if told is not None else {}
    for key in sorted({*wanted.newest.values, *differences}):
        value = wanted.newest.values.get(key)
        should_be = shown(value) if key in wanted.newest.values else None
        if key in differences:
            yield SettingLine(key, should_be, differences[key].running, differs=True, why=differences[key].why)
        elif told is not None:
            yield SettingLine(key, should_be, should_be, differs=False)
        else:
            yield SettingLine(key, should_be, None, differs=True, why=KEPT_HERE if is_kept(key, keeps) else "")
