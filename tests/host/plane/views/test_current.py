"""Which figures may be shown as those of now: by when they came and how long their interval was."""

import pytest

from skerry_agent.wire import codec
from skerry_agent.wire.report_forms import encode_report
from skerry_agent.wire.sketch import Recorder
from skerry_agent.wire.telemetry import ModelStats, Report
from skerry_agent.wire.twin import ModelReport, Reported, SlotReport
from skerry_host.fleet.device import Device
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, twins
from skerry_host.plane.registry.telemetry.port import Arrival
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry
from skerry_host.plane.views.gather import device_views, newest_figures, totals
from skerry_host.plane.views.newest import NewestIntervals
from skerry_host.plane.views.views import ModelView, Point

NOW, HOUR, DAY = 1_800_000_000.0, 3600.0, 86_400.0
DECADE = 10 * 365 * DAY


@pytest.mark.parametrize(
    ("clock_s", "interval_s", "age_s", "current"),
    [
        (0.0, 60.0, 100.0, True),
        (0.0, 60.0, 130.0, False),
        (0.0, 600.0, 1100.0, True),
        (0.0, 1200.0, 2500.0, False),
        (20 * HOUR, 60.0, 130.0, False),
        (-HOUR, 60.0, 100.0, True),
        (0.0, DECADE, HOUR, True),
        (0.0, DECADE, 1.1 * DAY, False),
    ],
    ids=["busy", "gone", "idle", "metered-gone", "ahead-gone", "behind", "absurd", "absurd-gone"],
)
def test_what_is_not_of_now_is_in_no_figure_of_now(tmp_path, clock_s, interval_s, age_s, current):
    stats = ModelStats("m", "m@1.0.0", int(interval_s), 0)
    report = Report("dev-1", "b", 0, NOW - interval_s + clock_s, 1e8, interval_s, (stats,))
    with open_registry(tmp_path / "r.sqlite") as registry, registry.write() as session:
        devices.add(session, Device("dev-1", "generic-x86", targets=("cpu",)), NOW)
        SqlTelemetry(session).add([Arrival(report, encode_report(report))], NOW)
        (view,) = device_views(session, devices.all_devices(session))
        (figures,) = newest_figures(session, NewestIntervals(), NOW + age_s)
        assert view.is_current(NOW + age_s) == current
        assert bool(figures.models) == current
        assert totals(session, NOW + age_s).inferences_per_s == (1.0 if current else 0.0)


def test_a_device_that_has_been_idle_for_long_does_not_show_its_last_work_as_its_newest():
    points = [_point(0.0, 900.0), _point(60.0, None), _point(660.0, None)]
    view = ModelView("m", "m@1.0.0", None, None, "idle", serving=True, points=tuple(points))
    assert view.newest == points[-1]
    lately = ModelView("m", "m@1.0.0", None, None, "idle", serving=True, points=tuple(points[:2]))
    assert lately.newest == points[0], "one answer a minute and no less has a latency"


def test_after_three_minutes_of_no_requests_every_rate_is_0(tmp_path):
    """On the device's card, in the totals and in what `/metrics` exports."""
    with open_registry(tmp_path / "r.sqlite") as registry, registry.write() as session:
        devices.add(session, Device("dev-1", "generic-x86", targets=("cpu",)), NOW)
        running = ModelReport("idle", serving=True, current=SlotReport("m@1.0.0", "cpu", "0" * 64, "1" * 64))
        twin = Reported("dev-1", "b", 1, 0, "1", "generic-x86", ("cpu",), {"m": running})
        twins.accept_reported(session, twin, codec.encode(twin), NOW)
        for number, (age_s, length_s, count) in enumerate([(240.0, 60.0, 150), (180.0, 120.0, 0), (60.0, 60.0, 0)]):
            stats = (ModelStats("m", "m@1.0.0", count, 0),)
            report = Report("dev-1", "b", number, NOW - age_s, 1e8 - age_s + length_s, length_s, stats)
            SqlTelemetry(session).add([Arrival(report, encode_report(report))], NOW - age_s + length_s)
        (view,) = device_views(session, devices.all_devices(session))
        (figures,) = newest_figures(session, NewestIntervals(), NOW)
        assert [point.inferences_per_s for point in view.models[0].points] == [2.5, 0.0, 0.0]
        assert view.models[0].newest.inferences_per_s == 0.0
        assert [model.inferences_per_s for model in figures.models] == [0.0]
        assert totals(session, NOW).inferences_per_s == 0.0


def _point(at, latency_us):
    return Point(at, "m@1.0.0", 0.0, latency_us, latency_us, latency_us, None)


def test_an_energy_is_shown_with_where_it_is_from_also_once_nobody_asks_any_more(tmp_path):
    """The energy of the last interval that had one, so its source too: the newest one has neither."""
    recorder = Recorder()
    recorder.add(900.0)
    busy = ModelStats("m", "m@1.0.0", 20, 0, latency=recorder.take(), energy_uj=5.0, energy_source="modelled")
    idle = ModelStats("m", "m@1.0.0", 0, 0, input_errors=7)
    arrivals = []
    for number, stats in enumerate((busy, idle)):
        report = Report("dev-1", "b", number, NOW - 120 + 60 * number, 1e3 + 60 * number, 60.0, (stats,))
        arrivals.append(Arrival(report, encode_report(report, 3)))
    with open_registry(tmp_path / "r.sqlite") as registry, registry.write() as session:
        devices.add(session, Device("dev-1", "generic-x86", targets=("cpu",)), NOW)
        SqlTelemetry(session).add(arrivals, NOW)
        running = ModelReport("idle", serving=True, current=SlotReport("m@1.0.0", "cpu", "0" * 64, "1" * 64))
        twin = Reported("dev-1", "b", 1, 0, "1", "generic-x86", ("cpu",), {"m": running})
        twins.accept_reported(session, twin, codec.encode(twin), NOW)
        (view,) = device_views(session, devices.all_devices(session))
    (model,) = view.models
    assert (model.newest.energy_uj, model.energy_source, model.input_errors) == (5.0, "modelled", 7)
