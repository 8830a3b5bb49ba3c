"""What `skerry monitor` shows, laid out for a screen of any size. Pure: values in, lines out.

From the top: that no plane runs, the fleet in figures, rollouts that have not ended, then as many devices as there is
room for, those that need attention first, and at the end how many more there are. Names are never broken; columns that
do not fit are left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from skerry_host.fleet.rollout import ENDED
from skerry_host.plane.views.briefs import AT_REST, NEEDS_ATTENTION, Brief, summary
from skerry_host.plane.views.labels import label
from skerry_host.plane.views.plane_state import PlaneView
from skerry_host.plane.views.views import DeviceView, ModelView, RolloutView, Totals
from skerry_host.plane.views.words import DASH, ago, energy, micros, stamp
from skerry_host.text import clean

GAP = 2
SHARE_OF_ROLLOUTS = 4
"""A quarter of the screen at most is for rollouts."""
COLOURS = {"offline": "red", "unknown": "yellow", "not serving": "red", "serving": "green"}


@dataclass(frozen=True, slots=True)
class Screen:
    """How much fits; no height for output that scrolls."""

    width: int
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The fleet at one moment. `shown` are the devices to show, in order, with figures; `briefs` are all of them."""

    at: float
    plane: PlaneView
    totals: Totals
    briefs: Sequence[Brief]
    rollouts: Sequence[RolloutView]
    shown: Sequence[DeviceView]


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    style: str = ""


Cells = dict[str, _Cell]
COLUMNS = ("", "device", "state", "release", "p50", "p95", "inf/s", "energy/inf", "source", "seen")
BY_IMPORTANCE = ("device", "", "state", "seen", "release", "inf/s", "p95", "p50", "energy/inf", "source")
NUMBERS = frozenset({"p50", "p95", "inf/s", "energy/inf", "seen"})
SHORTENED = {"state": 6, "release": 12}
"""Columns that may be cut, and the least that is worth showing."""


def ordered(briefs: Sequence[Brief]) -> list[Brief]:
    """Those that need attention first, then those that are busy; by name within."""
    return sorted(briefs, key=lambda brief: (brief.rank, brief.id))


def room_for_devices(seen: Seen, screen: Screen) -> int | None:
    """How many lines are left for devices; None for all."""
    if screen.height is None:
        return None
    return max(1, screen.height - len(_head(seen, screen)) - 3)


def page(seen: Seen, screen: Screen) -> list[Text]:
    """The lines, each no wider than the screen, and no more than its height."""
    lines = _head(seen, screen)
    room = room_for_devices(seen, screen)
    rows = [(device, cells) for device in seen.shown for cells in _rows(device, seen)]
    fitting = rows if room is None else rows[:room]
    whole = {device.id for device, _ in fitting}
    lines += _table([cells for _, cells in fitting], screen.width)
    lines += [_line(_rest(seen.briefs, whole), screen.width)] if len(whole) < len(seen.briefs) else []
    return lines if screen.height is None else lines[: screen.height]


def _head(seen: Seen, screen: Screen) -> list[Text]:
    plane, total = seen.plane.line(seen.at), seen.totals
    when = stamp(seen.at)
    known = seen.plane.running
    online, rate = (total.online, f"{total.inferences_per_s:.1f}") if known else ("?", "?")
    figures = f"{online} of {total.devices} devices online, {rate} inferences/s  ({when} UTC)"
    states = "  ".join(f"{label(state)} {count}" for state, count in summary(seen.briefs))
    lines = [_line(plane, screen.width, "yellow")] if plane else []
    lines += [_line(figures, screen.width, "bold"), *([_line(states, screen.width)] if states else [])]
    return [*lines, *_rollouts(seen, screen)]


def _rollouts(seen: Seen, screen: Screen) -> list[Text]:
    """Those that have not ended, newest first."""
    running = [each for each in seen.rollouts if each.state not in ENDED]
    most = len(running) if screen.height is None else max(1, screen.height // SHARE_OF_ROLLOUTS)
    lines = [_line(_rollout(each), screen.width, "cyan") for each in running[:most]]
    rest = len(running) - len(lines)
    return [*lines, _line(f"and {rest} more rollouts: `skerry rollout status`", screen.width)] if rest else lines


def _rollout(each: RolloutView) -> str:
    outcomes = ", ".join(f"{count} {label(outcome)}" for outcome, count in each.outcomes.items())
    of = f"{each.devices - each.count(None)} of {each.devices} ended"
    return f"rollout {each.id}  {each.release}: {label(each.state)}, {of}{f' ({outcomes})' if outcomes else ''}"


def _rest(briefs: Sequence[Brief], shown: set[str]) -> str:
    """How many devices are not shown, and the command that lists them, or those among them that need attention."""
    hidden = [brief for brief in briefs if brief.id not in shown]
    urgent = summary(brief for brief in hidden if brief.rank == NEEDS_ATTENTION)
    where = f"--where state={urgent[0][0]}" if urgent else f"--limit {len(briefs)}"
    states = ", ".join(f"{label(state)} {count}" for state, count in summary(hidden)[:3])
    return f"and {len(hidden)} more ({states}): `skerry device list {where}`"


def _rows(device: DeviceView, seen: Seen) -> list[Cells]:
    return [_cells(device, model, seen) for model in device.models or (None,)]


def _cells(device: DeviceView, model: ModelView | None, seen: Seen) -> Cells:
    current = seen.plane.running and device.is_current(seen.at)
    newest = model.newest if model and current else None
    state = _state(device, model)
    figures = {
        "p50": micros(newest.p50_us) if newest else DASH,
        "p95": micros(newest.p95_us) if newest else DASH,
        "inf/s": f"{newest.inferences_per_s:.1f}" if newest else DASH,
        "energy/inf": energy(newest.energy_uj, newest.energy_relative_uncertainty) if newest else DASH,
        "source": (model.energy_source if model and newest else None) or DASH,
    }
    made = {name: _Cell(text) for name, text in figures.items()}
    made[""] = _Cell("●" if device.online else "○", "green" if device.online else "red")
    made["device"] = _Cell(device.id)
    made["state"] = _Cell(state, COLOURS.get(state.partition(" (")[0], ""))
    made["release"] = _Cell(_release(model))
    made["seen"] = _Cell(ago(device.last_seen, seen.at))
    return {name: _Cell(clean(cell.text), cell.style) for name, cell in made.items()}


def _state(device: DeviceView, model: ModelView | None) -> str:
    """Its alarms, if there are any. Of one that is not connected what its model was about, unless it was at rest."""
    if device.alarms:
        return ", ".join(label(alarm.kind) for alarm in device.alarms)
    does = label(model.condition) if model else DASH
    if device.online:
        return does
    gone = "unknown" if device.online is None else "offline"
    return gone if model is None or model.condition in AT_REST else f"{gone} ({does})"


def _release(model: ModelView | None) -> str:
    if model is None:
        return DASH
    runs = model.release or DASH
    if not model.missed:
        return runs
    return f"{runs} ({model.attempted} {label(model.outcome or '')})"


def _table(rows: Sequence[Cells], width: int) -> list[Text]:
    if not rows:
        return []
    widths = _fitting(rows, width)
    title = _row({name: _Cell(name, "bold") for name in COLUMNS}, widths)
    return [Text(), title, *(_row(cells, widths) for cells in rows)]


def _fitting(rows: Sequence[Cells], width: int) -> dict[str, int]:
    """The columns that fit, in the order in which they are shown, and how wide each is."""
    widths: dict[str, int] = {}
    left = width
    for name in BY_IMPORTANCE:
        gap = GAP if widths else 0
        natural = max(cell_len(name), *(cell_len(cells[name].text) for cells in rows))
        least = min(natural, SHORTENED.get(name, natural))
        if least + gap <= left or name == "device":
            widths[name] = max(1, min(natural, left - gap))
            left -= widths[name] + gap
    return {name: widths[name] for name in COLUMNS if name in widths}


def _row(cells: Cells, widths: dict[str, int]) -> Text:
    made = Text(no_wrap=True)
    for name, width in widths.items():
        cell = cells[name]
        text = _sized(cell.text, width, right=name in NUMBERS)
        made.append(" " * GAP if made else "").append(text, cell.style)
    made.rstrip()
    return made


def _sized(text: str, width: int, *, right: bool = False) -> str:
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, max(0, width - 1)) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)


def _line(text: str, width: int, style: str = "") -> Text:
    return Text(_sized(clean(text), width).rstrip(), style, no_wrap=True)


Look = Callable[[Screen], Seen]
"""Reads the fleet as it is now, with figures of as many devices as a screen has room for."""
