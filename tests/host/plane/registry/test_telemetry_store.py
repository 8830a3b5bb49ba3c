"""Telemetry at rest: every report once, rolled up once, however late it comes and whatever is killed; old ones go."""

import contextlib
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import select, text
from sqlalchemy.dialects import sqlite

from skerry_agent.wire.report_forms import encode_report
from skerry_agent.wire.sketch import Recorder, Sketch
from skerry_agent.wire.telemetry import ModelStats, Report, Sample
from skerry_host.fleet.device import Device
from skerry_host.plane.errors import DurationError
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices
from skerry_host.plane.registry.tables import BootRow
from skerry_host.plane.registry.telemetry import boots, rolling, rollup, sql
from skerry_host.plane.registry.telemetry.port import Arrival, Interval, Retention, Tier
from skerry_host.plane.registry.telemetry.sql import SqlTelemetry

NOW = 1_800_000_000.0 - 1_800_000_000 % 86_400
HOUR, DAY = 3600, 86_400
GOLDEN = Path(__file__).parent / "golden"


class Host:
    """A registry with two devices, and a clock that is set by hand."""

    def __init__(self, registry):
        self.registry = registry
        with registry.write() as session:
            for name in ("dev-1", "dev-2"):
                devices.add(session, Device(name, "generic-x86", targets=("cpu",)), 1.0)

    def hear(self, *reports, at, kill=False):
        with self.registry.write() as session:
            new = SqlTelemetry(session).add([Arrival(each, encode_report(each)) for each in reports], at)
            if kill:
                raise KilledError
        return len(new)

    def upkeep(self, at, retention=None, most=100, kill=False):
        """Until there is nothing left to do."""
        for _ in range(500):
            with self.registry.write() as session:
                done = SqlTelemetry(session, retention or Retention()).maintain(at, most)
                if kill:
                    raise KilledError
            if not done:
                return
        raise AssertionError("upkeep never ends")

    def series(self, period_s, device="dev-1", since=0.0, until=4e9):
        with self.registry.read() as session:
            return SqlTelemetry(session).series(device, since, until, period_s)

    def newest(self, device="dev-1"):
        with self.registry.read() as session:
            return SqlTelemetry(session).newest()[device]

    def count(self, table):
        with self.registry.read() as session:
            return session.scalar(text(f"SELECT count(*) FROM {table}"))


class KilledError(Exception):
    """The plane was killed in the middle of a transaction."""


@pytest.fixture
def host(tmp_path):
    with open_registry(tmp_path / "r.sqlite") as opened:
        yield Host(opened)


def sketch(values):
    recorder = Recorder()
    for value in values:
        recorder.add(value)
    return recorder.take()


def report(sequence, started, *, values=(900.0,), watts=3.0, boot="boot-1", device="dev-1", **fields):
    stats = ModelStats("fashion", "fashion@1.0.0", len(values), 1, latency=sketch(values), outputs={"7": 2, "cat": 1})
    sample = Sample("power", watts, "W", "measured", "ina226")
    return Report(device, boot, sequence, started, 100.0 + 60 * sequence, 60.0, (stats,), (sample,), **fields)


def shape(intervals):
    """What a roll-up holds, means left out."""
    return [
        (each.started, each.reports, each.duration_s, [(m.release, m.inferences, m.errors, m.outputs, m.latency.buckets)
        for m in each.models], [(s.name, s.unit, s.source, s.method, s.low, s.high) for s in each.samples])
        for each in intervals
    ]  # fmt: skip


def test_a_report_is_read_as_it_was_sent(host):
    sent = report(3, NOW, watts=3.137)
    host.hear(sent, at=NOW + 60)
    kept = host.newest()
    assert (kept.device, kept.boot, kept.sequence, kept.clock, kept.received) == (
        "dev-1",
        "boot-1",
        3,
        "device",
        NOW + 60,
    )
    assert (kept.interval.started, kept.interval.duration_s, kept.interval.models) == (NOW, 60.0, sent.models)
    assert [(each.name, each.value, each.low, each.high) for each in kept.interval.samples] == [
        ("power", 3.137, 3.137, 3.137)
    ]


def test_a_report_counts_once_in_a_batch_later_and_when_it_is_long_gone(host):
    first, second = report(0, NOW), report(1, NOW + 60)
    assert host.hear(first, second, first, at=NOW + 60) == 2
    assert host.hear(first, at=NOW + 70) == 0
    host.upkeep(NOW + 3 * DAY)
    assert host.count("telemetry_reports") == 1
    assert host.hear(first, second, at=NOW + 3 * DAY) == 0
    host.upkeep(NOW + 4 * DAY)
    assert [each.reports for each in host.series(HOUR)] == [2]


def test_the_same_sequence_of_another_boot_or_device_is_another_report(host):
    assert host.hear(report(0, NOW), report(0, NOW, boot="boot-2"), report(0, NOW, device="dev-2"), at=NOW + 60) == 3


def test_a_quantile_of_a_roll_up_is_that_of_all_its_values(host):
    """Not a mean of quantiles: nine reports of quick answers and one of slow ones."""
    quick, slow = [900.0] * 100, [9000.0] * 100
    host.hear(*(report(i, NOW + 60 * i, values=slow if i == 9 else quick) for i in range(10)), at=NOW + 600)
    host.upkeep(NOW + 2 * HOUR)
    for period_s in (600, HOUR):
        (interval,) = host.series(period_s)
        (stats,) = interval.models
        assert (interval.reports, interval.duration_s, stats.inferences, stats.errors) == (10, 600.0, 1000, 10)
        assert stats.latency == sketch(quick * 9 + slow)
        assert stats.latency.quantile(0.5) == pytest.approx(900, rel=0.01)
        assert stats.latency.quantile(0.95) == pytest.approx(9000, rel=0.01)
        assert stats.outputs == {"7": 20, "cat": 10}


def test_samples_keep_lowest_highest_and_the_mean_over_time(host):
    host.hear(report(0, NOW, watts=2.0), report(1, NOW + 60, watts=4.0), report(2, NOW + 120, watts=9.0), at=NOW + 180)
    host.upkeep(NOW + 2 * HOUR)
    (sample,) = host.series(HOUR)[0].samples
    assert (sample.low, sample.value, sample.high) == (2.0, 5.0, 9.0)
    assert (sample.name, sample.unit, sample.source, sample.method) == ("power", "W", "measured", "ina226")


def test_what_is_not_rolled_up_yet_is_in_the_series_too(host):
    host.hear(report(0, NOW), report(1, NOW + 60), at=NOW + 120)
    before = shape(host.series(600)), shape(host.series(HOUR))
    assert before[0][0][:3] == (NOW, 2, 120.0)
    assert host.count("telemetry_blocks") == 0
    host.upkeep(NOW + 2 * HOUR)
    assert host.count("telemetry_blocks") == 2
    assert (shape(host.series(600)), shape(host.series(HOUR))) == before


def test_a_series_may_be_of_a_longer_period_than_any_tier(host):
    host.hear(*(report(i, NOW + 60 * i, values=[500.0 + i]) for i in range(24 * 60)), at=NOW + DAY)
    for _ in range(2):
        (day,) = host.series(DAY)
        assert (day.started, day.reports, day.models[0].inferences) == (NOW, 1440, 1440)
        assert day.models[0].latency.quantile(0.5) == pytest.approx(500 + 720, rel=0.011)
        assert [each.reports for each in host.series(2 * HOUR)] == [120] * 12
        host.upkeep(NOW + 2 * DAY)


def test_a_series_of_a_period_that_no_tier_makes_up_is_refused(host):
    host.hear(report(0, NOW), at=NOW + 60)
    host.upkeep(NOW + DAY)
    with pytest.raises(DurationError, match="420 s") as caught:
        host.series(420)
    assert "multiple of 600 s" in caught.value.hint


def test_a_series_is_cut_at_its_ends(host):
    host.hear(*(report(i, NOW + 60 * i) for i in range(120)), at=NOW + 2 * HOUR)
    assert len(host.series(0, since=NOW + 60, until=NOW + 180)) == 2
    for _ in range(2):
        assert [each.started - NOW for each in host.series(600, since=NOW + 600, until=NOW + 1800)] == [600, 1200]
        host.upkeep(NOW + 4 * HOUR)


def test_a_device_that_was_away_for_days_has_its_reports_where_they_belong(host):
    host.hear(report(0, NOW), at=NOW + 60)
    host.upkeep(NOW + 2 * HOUR)
    away = [report(1 + i, NOW + 60 * (1 + i)) for i in range(6 * 60)]
    host.hear(*away[::2], at=NOW + 5 * DAY)
    host.upkeep(NOW + 5 * DAY + 60)
    host.hear(*away[1::2], at=NOW + 6 * DAY)
    host.upkeep(NOW + 6 * DAY + 60)
    assert [(each.started - NOW, each.reports) for each in host.series(HOUR)] == [
        *((hour * HOUR, 60) for hour in range(6)), (6 * HOUR, 1),
    ]  # fmt: skip
    assert sum(each.reports for each in host.series(600)) == 361


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_order_and_wherever_it_is_killed_nothing_is_lost_or_doubled(host, seed):
    """Against one that hears all of it in order and is never killed."""
    rng = random.Random(seed)
    made = [report(i, NOW + 60 * i, values=[rng.uniform(500, 5000)], watts=float(i % 7)) for i in range(150)]
    host.hear(*(Report("dev-2", *list(_fields(each))[1:]) for each in made), at=NOW + 150 * 60)
    host.upkeep(NOW + DAY)
    rng.shuffle(made)
    at = NOW + HOUR
    while made:
        batch, made = made[:20], made[20:]
        for kill in (True, False):
            _unless_killed(host.hear, *batch, *batch[:3], at=at, kill=kill)
            _unless_killed(host.upkeep, at + 60, most=rng.randint(1, 2), kill=kill and rng.random() < 0.5)
        at += rng.choice([60, HOUR])
    host.upkeep(at + DAY)
    for period_s in (600, HOUR):
        assert shape(host.series(period_s)) == shape(host.series(period_s, "dev-2"))


def _fields(one):
    return (getattr(one, name) for name in one.__struct_fields__)


def _unless_killed(act, *args, **options):
    with contextlib.suppress(KilledError):
        act(*args, **options)


@pytest.mark.parametrize(("limit", "most"), [("MOST_REPORTS", 7), ("MOST_BYTES", 1000)])
def test_many_reports_of_one_boot_are_rolled_up_in_parts(host, monkeypatch, limit, most):
    host.hear(*(report(i, NOW + 60 * i) for i in range(100) if i % 10 != 3), at=NOW + 7000)
    whole = shape(host.series(600))
    monkeypatch.setattr(rolling, limit, most)
    assert shape(host.series(600)) == whole
    with host.registry.read() as session:
        assert len(rolling.pending(session, session.scalars(select(BootRow)).one())[0]) <= 10
    host.upkeep(NOW + 2 * DAY)
    assert sum(each.reports for each in host.series(600)) == 90
    assert host.count("telemetry_reports") == 1


def test_reports_go_after_a_day_and_roll_ups_when_their_tier_says(host):
    """The newest report stays, so that a silent device still shows its last figures."""
    for day in range(3):
        host.hear(*(report(24 * day + i, NOW + day * DAY + i * HOUR) for i in range(24)), at=NOW + (day + 1) * DAY)
        host.upkeep(NOW + (day + 1) * DAY + HOUR)
    assert host.count("telemetry_reports") <= 25
    host.upkeep(NOW + 5 * DAY)
    assert host.count("telemetry_reports") == 1
    assert host.newest().started == NOW + 3 * DAY - HOUR
    assert len(host.series(HOUR)) == 72
    host.upkeep(NOW + 18 * DAY)
    assert host.count("telemetry_blocks WHERE period_s = 600") == 0
    assert len(host.series(HOUR)) == 72
    host.upkeep(NOW + 400 * DAY)
    assert host.count("telemetry_blocks") == host.count("telemetry_reports") == host.count("boots") == 0


def test_retention_is_what_it_is_told_to_be(host):
    short = Retention(reports_s=HOUR, tiers=(Tier(60, DAY), Tier(1800, 2 * DAY)))
    host.hear(*(report(i, NOW + 60 * i) for i in range(60)), at=NOW + HOUR)
    host.upkeep(NOW + 3 * HOUR, short)
    assert host.count("telemetry_reports") == 1
    assert (len(host.series(60)), len(host.series(1800)), len(host.series(600))) == (60, 2, 6)
    host.upkeep(NOW + 4 * DAY, short)
    assert host.count("telemetry_blocks") == 0


@pytest.mark.parametrize("tiers", [(), (Tier(0, DAY),), (Tier(600, DAY), Tier(900, DAY)), (Tier(600, 60),)])
def test_a_retention_that_cannot_work_is_refused(tiers):
    with pytest.raises(DurationError, match="tiers"):
        Retention(tiers=tiers)


def test_a_retention_is_written_in_a_line():
    assert Retention.parse("24h,10m=14d,1h=365d") == Retention()
    assert Retention.parse("90m, 1m=2d") == Retention(5400, (Tier(60, 2 * DAY),))
    for wrong in ("", "24h", "24,1h=1d", "1h,1h", "1h,h=1d", "1h,1h=1w", "1h,1h=99999999d", "-1h,1h=1d"):
        with pytest.raises(DurationError):
            Retention.parse(wrong)


def test_the_newest_report_is_the_one_measured_last_not_the_one_heard_last(host):
    host.hear(report(5, NOW + 300, boot="boot-2"), at=NOW + 360)
    host.hear(report(0, NOW - 300), report(1, NOW - 240), at=NOW + 400)
    assert host.newest().started == NOW + 300
    with host.registry.read() as session:
        recent = SqlTelemetry(session).recent(["dev-1", "dev-2"], 2)
    assert [each.started - NOW for each in recent["dev-1"]] == [-240, 300]
    assert "dev-2" not in recent


def test_no_question_reads_all_reports(host):
    """Two million of them cost 1.3 s for each page, when they were ranked."""
    questions = (sql._last(1, 1), sql._last(3, 40, ["dev-1", "dev-2"]), rolling.joined().where(sql.BOOTS.c.id == 5))
    with host.registry.read() as session:
        for question in questions:
            asked = question.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
            plan = [row.detail for row in session.execute(text(f"EXPLAIN QUERY PLAN {asked}"))]
            assert [step for step in plan if step.startswith("SEARCH telemetry_reports USING PRIMARY KEY (boot=?")]
            assert not [step for step in plan if step.startswith("SCAN telemetry_reports")]


def test_a_device_without_a_clock_is_rolled_up_when_its_times_have_settled(host):
    """Its first report comes late, so the estimate is; the next comes quickly and corrects it before it is too late."""
    host.hear(report(0, 10.0), at=NOW + 2 * HOUR)
    host.upkeep(NOW + 6 * HOUR)
    assert host.count("telemetry_blocks") == 0
    host.hear(report(100, 10.0), at=NOW + 100.0 + 6000)
    host.upkeep(NOW + 15 * HOUR)
    assert host.count("telemetry_blocks") == 2
    assert [each.started - NOW for each in host.series(600)] == [0.0, 6000.0]


def test_absurd_numbers_add_up_without_an_end(host):
    huge = ModelStats("m", "m@1.0.0", 2**40, 2**40, latency=Sketch({"1": 2**40}, 2**40, 1e18), energy_uj=1e12)
    for i in range(3):
        one = Report("dev-1", "b", i, NOW, 1e8, 0.0, (huge, huge), (Sample("x", 9e29, "", "measured"),))
        host.hear(one, at=NOW + 60)
    host.hear(Report("dev-1", "c", 0, -1e11, 1e8, 1e8), at=NOW + 60)
    host.upkeep(NOW + DAY)
    (interval,) = [each for each in host.series(600) if each.models]
    assert interval.models[0].inferences == 2**40
    assert interval.samples[0].value == pytest.approx(9e29, rel=1e-4)


def test_a_damaged_row_hides_no_other(host):
    host.hear(report(0, NOW), report(1, NOW + 60), report(2, NOW + 120), at=NOW + 180)
    with host.registry.write() as session:
        session.execute(text("UPDATE telemetry_reports SET body = x'02ff' WHERE sequence = 1"))
    assert len(host.series(0)) == 2
    host.upkeep(NOW + 3 * HOUR)
    host.upkeep(NOW + 2 * DAY)
    assert [each.reports for each in host.series(HOUR)] == [2]
    assert host.count("telemetry_reports") == 1


def test_a_damaged_block_hides_no_other_and_stops_no_upkeep(host):
    host.hear(report(0, NOW), report(1, NOW + 8 * HOUR), at=NOW + 9 * HOUR)
    host.upkeep(NOW + 12 * HOUR)
    with host.registry.write() as session:
        session.execute(text("UPDATE telemetry_blocks SET body = x'02ff' WHERE started = :at"), {"at": NOW})
    assert [each.started for each in host.series(600)] == [NOW + 8 * HOUR]
    host.hear(report(2, NOW + 120), at=NOW + 12 * HOUR)
    host.upkeep(NOW + 14 * HOUR)
    assert [each.started for each in host.series(600)] == [NOW, NOW + 8 * HOUR]


@pytest.mark.parametrize(("limit", "most"), [("MOST_REPORTS", 7), ("MOST_BYTES", 1000)])
def test_many_reports_that_have_to_wait_are_not_looked_at_again_and_again(host, monkeypatch, limit, most):
    monkeypatch.setattr(rolling, limit, most)
    host.hear(*(report(i, 10.0) for i in range(20)), at=NOW)
    host.hear(*(report(i, 10.0) for i in range(20, 40)), at=NOW + 6 * HOUR)
    host.upkeep(NOW + 13 * HOUR)
    host.upkeep(NOW + 19 * HOUR)
    assert host.count("boots WHERE spans = rolled_up") == 1
    assert sum(each.reports for each in host.series(600)) == 40


def test_many_labels_and_samples_do_not_grow_a_roll_up_without_bound(host):
    for i in range(4):
        stats = ModelStats("m", "m@1.0.0", 1, 0, outputs={f"{i}-{k}": 1 for k in range(200)})
        samples = tuple(Sample(f"{i}-{k}", 1.0, "", "measured") for k in range(200))
        host.hear(Report("dev-1", "b", i, NOW, 60.0 * i, 60.0, (stats,), samples), at=NOW + 60)
    host.upkeep(NOW + DAY)
    (interval,) = host.series(HOUR)
    assert (len(interval.models[0].outputs), len(interval.samples)) == (256, 256)


def test_energy_of_two_sources_is_never_mixed():
    def stats(count, energy, source):
        return ModelStats("m", "m@1.0.0", count, 0, energy_uj=energy, energy_source=source, energy_method=source)

    parts = [stats(10, 100.0, "measured"), stats(30, 200.0, "measured"), stats(5, 7.0, "modelled")]
    host_side = [rollup.of_intervals(0, [_interval(each)]) for each in parts]
    (model,) = rollup.merged(0, host_side).models
    assert (model.energy_uj, model.energy_source, model.energy_method, model.metered) == (
        175.0,
        "measured",
        "measured",
        40,
    )


def _interval(stats):
    return Interval(NOW, 60.0, (stats,))


def test_input_errors_are_rolled_up_beside_the_model_s_own(host):
    for i in range(2):
        stats = ModelStats("m", "m@1.0.0", 1, 2, input_errors=3)
        host.hear(Report("dev-1", "b", i, NOW, 60.0 * i, 60.0, (stats,)), at=NOW + 60)
    host.upkeep(NOW + DAY)
    (interval,) = host.series(HOUR)
    assert (interval.models[0].errors, interval.models[0].input_errors) == (4, 6)


def test_the_form_of_a_block_is_pinned():
    """Blocks are kept for a year: a later Skerry reads those of today."""
    raw = (GOLDEN / "block.v1.bin").read_bytes()
    (rolled,) = rollup.unpack_block(raw)
    (stats,) = [model.stats() for model in rolled.models]
    assert (rolled.number, rolled.reports, rolled.duration_s, rolled.outbox_dropped) == (3_000_000, 2, 120.0, 4)
    assert (stats.release, stats.inferences, stats.outputs) == ("fashion@1.0.0", 4, {"7": 4, "cat": 2})
    assert stats.latency == sketch([900.0, 900.0, 950.0, 8000.0])
    assert list(rolled.figures()) == [(("power", "W", "measured", "ina226"), (2.0, 3.0, 4.0, 120.0))]
    assert rollup.unpack_block(rollup.pack_block([rolled])) == [rolled]
    assert stats.energy_relative_uncertainty is None


def test_the_form_of_a_block_with_uncertainties_is_pinned():
    raw = (GOLDEN / "block_uncertain.v1.bin").read_bytes()
    (rolled,) = rollup.unpack_block(raw)
    (stats,) = [model.stats() for model in rolled.models]
    assert (stats.energy_uj, stats.energy_relative_uncertainty) == (2000.0, 0.35)
    assert rollup.unpack_block(rollup.pack_block([rolled])) == [rolled]


def energies(*parts):
    """The energy of a roll-up of (inferences, energy per inference, relative uncertainty)."""
    known = ModelStats("m", "m@1.0.0", 0, 0, energy_source="modelled")
    stats = [
        replace(known, inferences=count, energy_uj=energy, energy_relative_uncertainty=bound)
        for count, energy, bound in parts
    ]
    (model,) = rollup.of_intervals(1, [_interval(each) for each in stats]).models
    return model.energy_uj, model.energy_relative_uncertainty


@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(1.0, 1e6), st.floats(0.01, 2.0)), min_size=1, max_size=8))
def test_what_is_off_in_the_same_way_each_time_does_not_become_better_by_adding_up(parts):
    """The uncertainty of a mean is never below the least and never above the largest of its parts."""
    energy, bound = energies(*parts)
    assert min(b for *_, b in parts) * (1 - 1e-9) <= bound <= max(b for *_, b in parts) * (1 + 1e-9)
    absolute = sum(n * e * b for n, e, b in parts) / sum(n for n, *_ in parts)
    assert energy * bound == pytest.approx(absolute)


def test_an_energy_of_which_a_part_has_no_known_uncertainty_has_none():
    assert energies((10, 100.0, 0.2), (10, 100.0, None)) == (100.0, None)


def test_boots_have_the_same_key_for_ever():
    assert boots.key("dev-1", "boot-1") == 6600138069081635278


def test_many_models_do_not_grow_a_roll_up_without_bound(host):
    """A device that names new ones in each report; the one that really works is kept."""
    busy = ModelStats("fashion", "fashion@1.0.0", 500, 0)
    for i in range(4):
        made = tuple(ModelStats(f"m{i}-{k}", f"m{i}-{k}@1.0.0", 1, 0) for k in range(60))
        host.hear(Report("dev-1", "b", i, NOW, 60.0 * i, 60.0, (*made, busy)), at=NOW + 60)
    host.upkeep(NOW + DAY)
    for period_s in (600, HOUR, DAY):
        (interval,) = host.series(period_s)
        assert len(interval.models) == 64
        assert max(interval.models, key=lambda each: each.inferences).inferences == 2000


def test_a_boot_whose_clock_was_ahead_does_not_hide_the_one_after_it(host):
    host.hear(report(0, NOW + 20 * HOUR), at=NOW)
    host.hear(report(0, NOW + 60, boot="boot-2"), at=NOW + 120)
    assert host.newest().boot == "boot-2"


def test_a_day_of_which_only_hours_are_kept_is_empty_in_shorter_periods(host):
    """The page asks for 10 minutes of the last day, also of a device that is silent since three weeks."""
    host.hear(report(0, NOW), at=NOW + 60)
    host.upkeep(NOW + 2 * HOUR)
    host.upkeep(NOW + 20 * DAY)
    assert host.series(600, since=NOW + 19 * DAY) == []
    assert len(host.series(HOUR)) == 1


def test_a_device_of_thousands_of_boots_is_read_from_the_newest_of_them(host, monkeypatch):
    monkeypatch.setattr(sql, "MOST_BOOTS", 3)
    host.hear(*(report(0, NOW + 600 * i, boot=f"boot-{i}") for i in range(9)), at=NOW + 5400)
    assert [each.started - NOW for each in host.series(600)] == [3600.0, 4200.0, 4800.0]
    monkeypatch.setattr(sql, "MOST_PENDING_BYTES", 1)
    assert [each.started - NOW for each in host.series(600)] == [4800.0]
    host.upkeep(NOW + DAY)
    assert len(host.series(600)) == 9
