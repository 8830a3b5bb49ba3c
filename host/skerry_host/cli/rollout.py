"""`skerry rollout`: plan, start, watch and abort rollouts."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from skerry_agent.wire.errors import WireError
from skerry_agent.wire.hours import parse_hours
from skerry_agent.wire.twin import Fallback, TransferPolicy
from skerry_host.cli.chosen import EXIT_STATUS, Chosen, chosen_devices, of_all, refused_lines
from skerry_host.cli.common import ago, console, emit, emit_json, json_option, registry, safe, size, styled, table, warn
from skerry_host.cli.listing import PAGE, ListOptions, Row, list_options, none_yet, part
from skerry_host.cli.plane import PlaneWatcher, plane_now
from skerry_host.cli.rollout_agents import AgentRollout, agent_named
from skerry_host.cli.watch import watch
from skerry_host.fleet.policy import Policy
from skerry_host.fleet.rollout import ENDED
from skerry_host.home import open_home
from skerry_host.plane.registry.records import rollouts
from skerry_host.plane.rollouts import intake
from skerry_host.plane.rollouts.forecast import Forecast, forecast
from skerry_host.plane.views.admission import admission_lines
from skerry_host.plane.views.gather import ROLLOUT_PAGE, rollout_view
from skerry_host.plane.views.labels import because, label, transports
from skerry_host.plane.views.plane_state import PlaneView
from skerry_host.release.runtime_choice import RuntimeChoice
from skerry_host.release.runtime_store import RuntimeStore
from skerry_host.release.store import Store

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.text import Text

    from skerry_agent.wire.manifest import Release
    from skerry_host.fleet.device import Device
    from skerry_host.fleet.several import Refusal, Several
    from skerry_host.home import Home
    from skerry_host.plane.registry.database import Registry
    from skerry_host.plane.registry.tables import RolloutRow
    from skerry_host.plane.views.views import DeploymentView, RolloutView
    from skerry_host.release.fitting import Admission, Fit

NEWEST, EVERY = 20, 100_000
"""So many rollouts are listed if nothing is said, and so many are looked through."""

FIELDS = ("id", "release", "selection", "state", "outcome", "reason", "target", "transfer", "wave")
"""Of rollouts and of the devices of one: each has some of them."""

POLL_S = 0.2


def _hours(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """`22:00-05:30` in minutes after midnight."""
    if text is None:
        return None
    try:
        return parse_hours(text)
    except WireError:
        raise click.BadParameter(f"{text!r} is not a time window; write for instance 22:00-05:30") from None


@click.group()
def rollout() -> None:
    """Roll out releases to devices: plan, start, watch, abort."""


@rollout.command(epilog=EXIT_STATUS)
@click.argument("release")
@click.option("--group", help="The devices of a group.")
@click.option("--device", "names", multiple=True, help="A device; may be given several times.")
@click.option("--deadline", type=click.FloatRange(min=1), default=3600.0, help="Seconds that a device may take [3600].")
@click.option(
    "--silence",
    type=click.FloatRange(min=1),
    help="Seconds without a report after which a device counts as timed out [the deadline].",
)
@click.option(
    "--full-fallback",
    type=click.Choice(["always", "unmetered", "never"]),
    default="always",
    help="Whether devices may download the full file where no patch fits [always].",
)
@click.option("--byte-budget", type=click.IntRange(min=1), help="Maximum number of bytes that a device may download.")
@click.option("--hours", callback=_hours, metavar="HH:MM-HH:MM", help="When devices may download, in their local time.")
@click.option(
    "--max-unsuccessful",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Maximum fraction of devices that may fail, from 0 to 1 [0].",
)
@click.option(
    "--runtime",
    default="",
    metavar="NAME@V",
    help="What the devices are to run it with, or `base` [each keeps what it has].",
)
@click.option(
    "--trial",
    type=click.FloatRange(1, 86_400),
    default=300.0,
    help="Of an agent: seconds after its start within which it must be healthy [300].",
)
@click.option("--wait", is_flag=True, help="Wait until the rollout has ended; exit 1 unless it succeeded.")
@json_option
def start(release: str, group: str | None, names: tuple[str, ...], wait: bool, as_json: bool, **options: Any) -> int:
    """Start a rollout of RELEASE (model@version, or an agent's) to a group or to single devices.

    A release of the agent itself is rolled out in the same way: a device whose new agent is not healthy within --trial
    goes back to its old one by itself.

    With --runtime a device is moved to the release and the runtime; one that runs the release already, by the runtime
    alone. A rollback brings the runtime of before back, too.

    It is for every device that can run the release; the others are counted by reason and listed, each with its own.
    Devices of which something is not known that the release needs are ordered, and counted, too.
    """
    home = open_home()
    store, runtime = Store(home.store), options.pop("runtime")
    agent = agent_named(store, release)
    if agent is not None:
        _refuse_runtime(runtime)
        return _start_agent(home, AgentRollout(store, agent), Asked(group, names, _policy(**options), wait, as_json))
    manifest, choice = store.release(release), _runtime_choice(store, runtime)
    with registry(home) as opened:
        with opened.write() as session:
            chosen = chosen_devices(session, group, names)
            able = intake.fitting_targets(session, manifest, chosen.devices, chosen.refused, choice)
            known = intake.admission(able)
            request = _request(manifest, able, known, (chosen.selection, _policy(**options), runtime))
            started = intake.start_rollout(session, request, time.time())
            plane = None if wait else plane_now(session)
        if plane is not None:
            data = {"rollout": started, "release": release, "devices": list(able.done)}
            more = {"refused": able.refused, "admission": known, "plane": plane}
            head = f"rollout {started}: {release}{f' with {runtime}' if runtime else ''}"
            emit(data | more, as_json, lambda: "\n".join(_started(head, chosen, able)))
            return able.exit_code
        warn(() if as_json else [*admission_lines(known), *refused_lines("left out", able.refused)])
        view = _ended(opened, started)
    emit(_with_refused(view, able.refused), as_json, lambda: _shown(view))
    return able.exit_code if view.state == "succeeded" else 1


class Asked(NamedTuple):
    """What a command was called with, beside a release of the agent."""

    group: str | None
    names: tuple[str, ...]
    policy: Policy
    wait: bool
    as_json: bool


def _start_agent(home: "Home", rollout: AgentRollout, asked: Asked) -> int:
    """The exit status of a rollout of the agent itself."""
    with registry(home) as opened:
        with opened.write() as session:
            started = rollout.start(session, chosen_devices(session, asked.group, asked.names), asked.policy)
            plane = None if asked.wait else plane_now(session)
        if plane is not None:
            emit(started.data(plane), asked.as_json, started.text)
            return started.able.exit_code
        warn(() if asked.as_json else refused_lines("left out", started.able.refused))
        view = _ended(opened, started.rollout)
    emit(_with_refused(view, started.able.refused), asked.as_json, lambda: _shown(view))
    return started.able.exit_code if view.state == "succeeded" else 1


def _refuse_runtime(runtime: str) -> None:
    if runtime:
        raise click.UsageError("--runtime is for releases of models: an agent brings what it needs")


def _request(
    manifest: "Release", able: "Several[tuple[Device, Fit]]", known: "Admission", of: tuple[str, Policy, str]
) -> intake.RolloutRequest:
    """What was asked for, with the targets that fit; `of` is the selection in words, the policy, and the runtime."""
    selection, policy, runtime = of
    targets = {name: fits.target for name, (_, fits) in able.done.items() if fits.target is not None}
    runtimes = {name: (fits.runtime, fits.runtime_bytes) for name, (_, fits) in able.done.items()}
    those = [each for each, _ in able.done.values()]
    return intake.RolloutRequest(manifest, those, selection, policy, targets, known, runtime, runtimes)


def _runtime_choice(store: Store, wanted: str) -> RuntimeChoice:
    """What --runtime asks for. Raises `ReleaseError` where there is no such runtime."""
    choice = RuntimeChoice(RuntimeStore(store), wanted)
    choice.check()
    return choice


def _started(head: str, chosen: Chosen, able: "Several[Any]") -> list[str]:
    known = intake.admission(able)
    lines = refused_lines("left out", able.refused)
    return [f"{head} to {of_all(able)} ({chosen.selection})", *admission_lines(known), *lines]


def _with_refused(view: "RolloutView", refused: "tuple[Refusal, ...]") -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(view)
    return {**fields, "refused": refused}


@rollout.command(epilog=EXIT_STATUS)
@click.argument("release")
@click.option("--group", help="The devices of a group.")
@click.option("--device", "names", multiple=True, help="A device; may be given several times.")
@click.option(
    "--runtime",
    default="",
    metavar="NAME@V",
    help="What the devices are to run it with, or `base` [each keeps what it has].",
)
@json_option
def plan(release: str, group: str | None, names: tuple[str, ...], runtime: str, as_json: bool) -> int:
    """Show how many bytes each device would download for RELEASE, by patch or in full, and who is left out and why.

    Starts nothing.
    """
    store = Store(open_home().store)
    agent = agent_named(store, release)
    if agent is not None:
        _refuse_runtime(runtime)
        with registry() as opened, opened.read() as session:
            return AgentRollout(store, agent).plan(session, chosen_devices(session, group, names), as_json)
    manifest, choice = store.release(release), _runtime_choice(store, runtime)
    with registry() as opened, opened.read() as session:
        chosen = chosen_devices(session, group, names)
        able = intake.fitting_targets(session, manifest, chosen.devices, chosen.refused, choice)
        rows = forecast(session, store, manifest, able.done.values())
    if as_json:
        emit_json([*rows, *able.refused])
    else:
        console().print(_planned(rows))
        warn([*admission_lines(intake.admission(able)), *refused_lines("left out", able.refused)])
    return able.exit_code


def _planned(rows: "list[Forecast]") -> "Group":
    from rich.console import Group  # noqa: PLC0415

    with_runtime = any(row.runtime for row in rows)
    made = table("device", "target", "runs", "transfer", *(["runtime"] if with_runtime else []), ">bytes", ">of full")
    for row in rows:
        share = f"{row.bytes_expected / row.full_bytes:.1%}" if row.full_bytes else "-"
        runtime = [_runtime_cell(row)] if with_runtime else []
        made.add_row(row.device, row.target, row.holds or "-", row.path, *runtime, size(row.bytes_expected), share)
    total, full = sum(row.bytes_expected for row in rows), sum(row.full_bytes for row in rows)
    made.add_section()
    blank = [""] * (4 if with_runtime else 3)
    made.add_row(f"{len(rows)} devices", *blank, size(total), f"{total / full:.1%}" if full else "-")
    return Group(made, *_rollbacks(rows))


def _runtime_cell(row: Forecast) -> str:
    if not row.runtime:
        return "base"
    return f"{row.runtime}, {size(row.runtime_bytes)}" if row.runtime_bytes else f"{row.runtime}, held"


def _rollbacks(rows: Sequence[Forecast]) -> list[str]:
    """What the devices would go back to, where a runtime is part of it: counted."""
    counts = Counter(row.rollback for row in rows if row.rollback)
    if all(back.endswith(" with the base runtime") for back in counts) and not any(row.runtime for row in rows):
        return []
    return [f"a rollback goes back to {back}: {count} devices" for back, count in counts.most_common()]


@rollout.command()
@click.argument("rollout_id", required=False)
@click.option("--watch", "watched", is_flag=True, help="Show the progress until the rollout has ended.")
@list_options(*FIELDS, example="state=failed, or with an id outcome=rolled_back", sort=("started", "bytes", "seconds"))
@json_option
def status(rollout_id: str | None, watched: bool, options: ListOptions, as_json: bool) -> None:
    """Show one rollout device by device, or a list of the newest.

    Both lists may be narrowed: rollouts by id, release, selection, state and reason, the devices of one by id, state,
    outcome, reason, target, transfer and wave.
    """
    if watched:
        _watch(rollout_id, as_json)
        return
    with registry() as opened, opened.read() as session:
        if rollout_id is not None:
            view = rollout_view(session, rollouts.find(session, rollout_id))
            _show_one(view, options, plane_now(session), as_json)
            return
        plane_now(session)
        rows = rollouts.latest(session, NEWEST if options.plain and not options.limit else EVERY)
        shown = part(rows, _rollout_row, options, options.limit or (sys.maxsize if as_json else PAGE))
        views = [rollout_view(session, row, ROLLOUT_PAGE) for row in shown.items]
    emit(views, as_json, lambda: _listed(views, shown.more("rollouts"), options))


def _rollout_row(row: "RolloutRow") -> Row:
    of_deployments = dict.fromkeys(FIELDS)
    own = {"id": row.id, "release": row.release, "selection": row.selection, "state": row.state, "reason": row.reason}
    return {**of_deployments, **own, "started": row.created}


def _deployment_row(row: "DeploymentView") -> Row:
    moved = {"transfer": row.transfer, "bytes": row.bytes_received, "seconds": row.seconds, "started": row.sent}
    ended = {"outcome": row.outcome, "reason": row.reason}
    place = {"id": row.device, "release": row.release, "target": row.target, "wave": row.wave, "state": row.state}
    return {**dict.fromkeys(FIELDS), **place, **ended, **moved}


def _show_one(view: "RolloutView", options: ListOptions, plane: PlaneView, as_json: bool) -> None:
    """Those that did not succeed are in the table first, unless another order was asked for."""
    first = view.deployments if options.sort or as_json else sorted(view.deployments, key=_has_succeeded)
    shown = part(first, _deployment_row, options, options.limit or (sys.maxsize if as_json else PAGE))
    if as_json:
        found: dict[str, Any] = msgspec.to_builtins(view)
        emit_json({**found, "deployments": shown.items, "plane": plane})
    else:
        console().print(_shown(view, shown.items, shown.more("devices")), soft_wrap=True)


def _has_succeeded(row: "DeploymentView") -> bool:
    return row.outcome == "succeeded"


def _listed(views: "list[RolloutView]", more: list[str], options: ListOptions) -> "RenderableType":
    from rich.console import Group  # noqa: PLC0415

    if not views:
        return none_yet(options, "rollouts", "`skerry rollout start RELEASE --group G`")
    made = table("rollout", "release", "devices", "state", "result", "started")
    for view in views:
        state, reason = label(view.state), safe(label(view.reason))
        made.add_row(view.id, view.release, view.selection, state, reason, ago(view.created))
    return Group(made, *more)


def _watch(rollout_id: str | None, as_json: bool) -> None:
    if rollout_id is None or as_json:
        raise click.UsageError("--watch shows one rollout in a terminal: give its id, and leave out --json")
    with registry() as opened:
        view = watch(opened, rollout_id, console())
    console().print(_shown(view))


@rollout.command()
@click.argument("rollout_id")
@json_option
def abort(rollout_id: str, as_json: bool) -> None:
    """Abort a rollout: deployments in progress are cancelled, and their devices keep what they run."""
    with registry() as opened, opened.write() as session:
        whole = intake.abort_rollout(session, rollout_id, time.time())
        plane = plane_now(session)
    emit({"rollout": whole, "state": "aborting", "plane": plane}, as_json, lambda: f"rollout {whole} is being aborted")


def _policy(
    deadline: float,
    silence: float | None,
    full_fallback: Fallback,
    byte_budget: int | None,
    hours: tuple[int, int] | None,
    **others: float,
) -> Policy:
    transfer = TransferPolicy(full_fallback, byte_budget, deadline, hours)
    return Policy(transfer, silence or deadline, others["max_unsuccessful"], others["trial"])


def _ended(opened: "Registry", rollout_id: str) -> "RolloutView":
    """Wait until a rollout has ended; says at once, and again when that changes, that no plane carries it out."""
    plane = PlaneWatcher(opened)
    while True:
        plane.look()
        with opened.read() as session:
            row = rollouts.find(session, rollout_id)
            if row.state in ENDED:
                return rollout_view(session, row)
        time.sleep(POLL_S)


def _shown(view: "RolloutView", rows: "Sequence[DeploymentView] | None" = None, more: Sequence[str] = ()) -> "Group":
    from rich.console import Group  # noqa: PLC0415

    from skerry_host.cli.terminal import joined  # noqa: PLC0415

    made = table("device", "state", "outcome", "transfer", "transport", ">bytes", ">of full", ">seconds", "reason")
    if rows is None:
        rows = sorted(view.deployments, key=_has_succeeded)[:PAGE]
        rest = view.devices - len(rows)
        more = [f"{rest} more devices: `skerry rollout status {view.id} --limit {view.devices}`"] if rest else []
    for row in sorted(rows, key=lambda d: (d.wave, d.device)) if len(rows) == view.devices else rows:
        made.add_row(*_cells(row))
    with_runtime = f" with {view.runtime}" if view.runtime else ""
    head = f"{view.id}  {view.release}{with_runtime} for {view.selection}: "
    title = joined(head, styled(label(view.state), "bold"), f" {label(view.reason)}")
    return Group(title, *admission_lines(view.admission), made, *more)


def _cells(row: "DeploymentView") -> "tuple[str | Text, ...]":
    share = f"{row.bytes_received / row.full_bytes:.0%}" if row.full_bytes and row.bytes_received else ""
    colour = {"succeeded": "green", None: "cyan"}.get(row.outcome, "red")
    return (
        row.device,
        label(row.state),
        styled(label(row.outcome or ""), colour),
        row.transfer or "",
        safe(transports(row.transports)),
        size(row.bytes_received),
        share,
        f"{row.seconds:.1f}",
        safe(because(row.reason, row.detail)),
    )
