"""The bars of `rollout status --watch`: filled by bytes, with the state and the transports in words."""

from msgspec.structs import replace
from rich.progress import Progress

from skerry_host.cli.watch import MAX_BARS, _show
from skerry_host.plane.views.views import DeploymentView

FETCHING = DeploymentView(
    "d-1", "r-1", "dev-1", "m@1.0.0", "cpu", 0, "fetching", None, "", "", None, 300, 1000, 5000, 1.0, 1, None, 1.0,
    None, "retained, asked",
)  # fmt: skip
BY = "(MQTT retained, MQTT on request)"


def shown(*views):
    progress, bars = Progress(), {}
    for view in views:
        _show(progress, bars, view)
    return [(task.completed, task.total, task.fields["state"]) for task in progress.tasks]


def test_a_bar_is_filled_by_what_has_come_and_names_the_transports():
    assert shown(FETCHING) == [(300, 1000, f"fetching {BY}")]
    assert shown(FETCHING, replace(FETCHING, bytes_received=700)) == [(700, 1000, f"fetching {BY}")]


def test_before_it_is_known_how_much_there_is_a_bar_has_no_end():
    waiting = replace(FETCHING, state="waiting", bytes_received=0, bytes_expected=0, transports="")
    assert shown(waiting) == [(0, None, "waiting")]


def test_what_succeeded_is_full_and_what_failed_stays_where_it_was():
    assert shown(replace(FETCHING, outcome="succeeded")) == [(1000, 1000, f"succeeded {BY}")]
    assert shown(replace(FETCHING, outcome="failed")) == [(300, 1000, f"failed {BY}")]


def test_a_terminal_is_not_flooded():
    assert len(shown(*(replace(FETCHING, device=f"dev-{i}") for i in range(100)))) == MAX_BARS
