"""Which reports a device makes: how long their intervals are, and which quiet ones become one."""

from itertools import pairwise

import pytest

from skerry_agent.config import AgentSection
from skerry_agent.ports.runner_protocol import Exercised, Heartbeat
from skerry_agent.supervisor.report_interval import AFTER_TRIAL_S, MAX_WATCH_S, ReportInterval
from skerry_agent.supervisor.telemetry import Telemetry
from skerry_agent.wire.sketch import Sketch
from skerry_agent.wire.telemetry import Sample
from tests.kit.clock import FakeClock

MOST_S = 600.0


class Board:
    """Meters whose values a test sets."""

    def __init__(self):
        self.values = {"power": 3.0, "cpu": 0.1, "temperature": 50.0, "throttled": 0.0, "memory": 80e6}
        self.units = {"power": "W", "cpu": "cores", "temperature": "degC", "throttled": "1", "memory": "bytes"}

    def samples(self, pids, duration_s, accelerator_s=0.0):
        return [Sample(name, value, self.units[name], "measured", name) for name, value in self.values.items()]

    def active_energy(self, cpu_s, accelerator_s=0.0):
        return None

    def undervoltage_since(self, at):
        return None


class Rig:
    """A device's telemetry, a minute at a time."""

    def __init__(self):
        self.clock, self.board = FakeClock(), Board()
        self.telemetry = Telemetry("dev-1", "boot", self.clock, self.board)

    def minute(self, inferences=0, most_s=MOST_S, dropped=0):
        self.clock.advance(60)
        latency = Sketch({"230": inferences}, 0, 95.0 * inferences) if inferences else Sketch()
        beat = Heartbeat(inferences, 0, 0, 0, latency, 0.0, 41_000_000, 0.1)
        self.telemetry.heartbeat("m", "m@1.0.0", 1000.0, beat)
        return self.telemetry.take([], dropped, most_s)

    def minutes(self, count, **how):
        return [report for _ in range(count) for report in self.minute(**how)]


@pytest.fixture
def rig():
    return Rig()


def durations(reports):
    return [round(report.duration_s) for report in reports]


def test_an_idle_device_says_less_and_less_often_that_nothing_happens(rig):
    """Never later than twice the interval of its newest report: so the host knows how long that is current."""
    reports = rig.minutes(60)
    assert durations(reports) == [60, 120, 240, 480, 600, 600, 600, 600]
    assert [report.sequence for report in reports] == list(range(8))
    assert all(b.started == pytest.approx(a.started + a.duration_s) for a, b in pairwise(reports))


def test_a_busy_device_says_what_it_does_each_minute(rig):
    reports = rig.minutes(5, inferences=10)
    assert durations(reports) == [60] * 5
    assert [report.models[0].latency.count for report in reports] == [10] * 5


def test_input_errors_are_reported_apart_and_are_not_quiet(rig):
    rig.minutes(4)
    rig.clock.advance(60)
    rig.telemetry.heartbeat("m", "m@1.0.0", 1.0, Heartbeat(0, 0, 0, 0, Sketch(), 0.0, 41_000_000, 0.1, input_errors=3))
    *_, report = rig.telemetry.take([], 0, MOST_S)
    assert (report.models[0].errors, report.models[0].input_errors) == (0, 3)


def test_a_share_may_change_a_little_and_a_flag_may_not():
    """`frequency_limit` is a share, `undervoltage` a flag; both have unit 1."""
    rig = Rig()
    rig.board.values |= {"frequency_limit": 0.8, "undervoltage": 0.0}
    rig.board.units |= {"frequency_limit": "1", "undervoltage": "1"}
    rig.minute()
    rig.board.values["frequency_limit"] = 0.83
    assert rig.minute() == []
    rig.board.values["undervoltage"] = 1.0
    assert len(rig.minute()) == 2


def test_what_happens_after_quiet_intervals_is_not_spread_over_them(rig):
    rig.minutes(1)
    assert rig.minute() == []
    quiet, busy = rig.minute(inferences=10)
    assert durations([quiet, busy]) == [60, 60]
    assert (quiet.models[0].inferences, busy.models[0].inferences) == (0, 10)
    assert (quiet.sequence, busy.sequence) == (1, 2)


@pytest.mark.parametrize(
    ("name", "value"), [("power", 3.5), ("cpu", 0.2), ("temperature", 56.0), ("throttled", 1.0), ("memory", 95e6)]
)
def test_a_value_that_changes_is_reported_at_once(rig, name, value):
    rig.minutes(7)
    rig.board.values[name] = value
    assert {s.name: s.value for s in rig.minute()[-1].samples}[name] == value


def test_a_value_that_appears_or_goes_is_reported_at_once(rig):
    rig.minutes(7)
    del rig.board.values["power"]
    assert durations(rig.minute())[-1] == 60


def test_means_stay_means_and_other_values_are_the_newest(rig):
    rig.minutes(1)
    for power, degrees in ((3.0, 50.0), (3.15, 51.0)):
        rig.board.values.update(power=power, temperature=degrees)
        reports = rig.minute()
    values = {sample.name: sample.value for sample in reports[0].samples}
    assert (values["power"], values["temperature"]) == (pytest.approx(3.075), 51.0)


def test_what_the_outbox_drops_is_said(rig):
    rig.minutes(3)
    assert rig.minute(dropped=1)[-1].outbox_dropped == 1


def test_a_clock_that_is_set_ends_a_quiet_interval(rig):
    rig.minutes(3)
    rig.clock.wall = lambda: rig.clock.now + 1_800_000_000
    reports = rig.minutes(8)
    assert all(r.started < 1_750_000_000 or r.started > 1_790_000_000 for r in reports)
    assert sum(durations(reports)) >= 60 * 7


def test_who_watches_gets_every_interval(rig):
    rig.minutes(3)
    assert durations(rig.minute(most_s=0.0)) == [60]


# -- how long an interval is ---------------------------------------------------------------------------------------


class Intervals:
    def __init__(self, **section):
        self.clock = FakeClock()
        self.interval = ReportInterval(AgentSection(**section), self.clock.monotonic)

    def after(self, seconds):
        self.clock.advance(seconds)
        return self.interval.seconds


def test_a_watch_ends_by_itself_and_before_its_time():
    made = Intervals()
    assert made.after(0) == 60.0
    made.interval.watch(100)
    assert made.after(99) == 10.0
    assert made.after(2) == 60.0
    made.interval.watch(100)
    made.interval.watch(0)
    assert made.after(0) == 60.0
    assert made.interval.watch(1e9) == MAX_WATCH_S


def test_a_trial_is_reported_closely_and_for_some_time_after():
    made = Intervals()
    made.interval.on_trial()
    assert made.after(AFTER_TRIAL_S - 1) == 10.0
    assert made.after(2) == 60.0


def test_on_a_metered_link_intervals_are_long_and_a_trial_is_followed_by_none_that_are_short():
    made = Intervals(metered=True)
    assert made.after(0) == 1200.0
    made.interval.on_trial()
    assert made.after(1) == 10.0
    assert made.after(5) == 1200.0


def test_a_device_that_reports_more_often_is_not_slowed_down_by_a_watch():
    made = Intervals(telemetry_interval_s=2.0)
    made.interval.watch(60)
    assert made.after(0) == 2.0


def test_golden_inputs_are_in_no_figure_of_load(rig):
    """A device that nobody asked reported a rate, a latency and energy of made-up load."""
    exercised = Exercised(30, 0, 0, Sketch({"230": 30}, 0, 2850.0))

    def minute(inferences):
        rig.clock.advance(60)
        latency = Sketch({"240": inferences}, 0, 110.0 * inferences) if inferences else Sketch()
        beat = Heartbeat(inferences, 0, 0, 0, latency, 0.0, 41_000_000, 0.1, exercised=exercised)
        rig.telemetry.heartbeat("m", "m@1.0.0", 1000.0, beat)
        return rig.telemetry.take([], 0)[-1].models[0]

    idle, busy = minute(0), minute(10)
    assert (idle.inferences, idle.latency.count, idle.outputs, idle.energy_uj) == (0, 0, {}, None)
    assert (busy.inferences, busy.latency) == (10, Sketch({"240": 10}, 0, 1100.0))
