"""What a wattmeter shows at idle and under load gives a board's coefficients, or one line that says why not."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.meters.calibration import (
    WORKLOAD,
    CalibrationError,
    Level,
    Wattmeter,
    fit,
    level_of,
    parse_log,
    split,
)

METER = Wattmeter()


def test_two_readings_give_idle_and_watts_per_core():
    found = fit(Level(2.1), Level(3.4), 4, METER)
    assert (found.idle_w, found.watts_per_core) == (2.1, pytest.approx(0.325))
    assert found.uncertainty == pytest.approx(0.02 + 0.1 / 1.3 + WORKLOAD)


def test_a_finer_meter_makes_a_better_calibration():
    coarse, fine = (fit(Level(2.1), Level(3.4), 4, Wattmeter(step)).uncertainty for step in (0.1, 0.01))
    assert fine < coarse


@given(st.floats(0.5, 20.0), st.floats(0.1, 5.0), st.integers(1, 8))
def test_the_coefficients_of_a_board_are_found_again_within_their_uncertainty(idle_w, core_w, cores):
    """Whatever a meter of 0.1 W and 2 % shows of them."""
    wrong = random.Random(f"{idle_w}{core_w}{cores}")

    def shown(watts):
        return round(watts * (1 + wrong.uniform(-0.02, 0.02)) * 10) / 10

    idle, load = shown(idle_w), shown(idle_w + core_w * cores)
    try:
        found = fit(Level(idle), Level(load), cores, Wattmeter(0.1, 0.02))
    except CalibrationError:
        assert load - idle < 0.31
        return
    gain = 0.04 * (idle_w + core_w * cores) / cores  # two readings that are off in opposite ways
    assert abs(found.watts_per_core - core_w) <= found.uncertainty * found.watts_per_core + gain
    assert abs(found.idle_w - idle_w) <= found.uncertainty * found.idle_w + 0.05


@pytest.mark.parametrize(
    ("idle", "load", "cores", "meter", "words"),
    [
        (3.0, 2.0, 4, METER, "is not less than load"),
        (2.0, 2.0, 4, METER, "is not less than load"),
        (0.0, 2.0, 4, METER, "idle of 0 W"),
        (-1.0, 2.0, 4, METER, "idle of -1 W"),
        (float("nan"), 2.0, 4, METER, "idle of nan W"),
        (2.0, float("inf"), 4, METER, "load of inf W"),
        (2.0, 1e9, 4, METER, "load of 1e\\+09 W"),
        (2.0, 3.0, 0.0, METER, "0 busy cores"),
        (2.0, 2.2, 4, METER, "differ by 0.2 W"),
        (2.0, 3.0, 4, Wattmeter(-0.1), "step"),
        (2.0, 3.0, 4, Wattmeter(0.1, 2.0), "accuracy"),
    ],
)
def test_readings_that_cannot_be_are_refused_in_one_line(idle, load, cores, meter, words):
    with pytest.raises(CalibrationError, match=words) as refused:
        fit(Level(idle), Level(load), cores, meter)
    assert "\n" not in str(refused.value)


def logged(idle=2.1, load=3.4, ramp=3, noise=0.05, each=60):
    source = random.Random(3)
    levels = [idle] * each + [idle + (load - idle) * (n + 1) / (ramp + 1) for n in range(ramp)] + [load] * each
    return [level + source.gauss(0, noise) for level in levels]


def test_a_log_of_idle_and_load_is_told_apart():
    idle, load = split(logged())
    assert (idle.watts, load.watts) == (pytest.approx(2.1, abs=0.05), pytest.approx(3.4, abs=0.05))
    assert 0 < idle.spread_w < 0.05


@pytest.mark.parametrize(
    "readings",
    [
        [],
        [2.1] * 5,
        [2.1] * 100,
        [2.0 + n / 100 for n in range(200)],
        [*[2.1] * 100, 9.0],
        logged(noise=1.0),
    ],
    ids=["empty", "few", "one level", "a ramp", "a single spike", "noise"],
)
def test_a_log_without_two_levels_is_refused(readings):
    with pytest.raises(CalibrationError, match=r"levels|too few"):
        split(readings)


def test_a_log_is_read_with_and_without_a_heading():
    assert parse_log("time,watts\n1,2.1\n2,2.2\n\n") == parse_log("1;2.1\n2;2.2\n") == [2.1, 2.2]


@pytest.mark.parametrize("line", ["1", "1,2,3", "1,x", "1,nan", "1,-2", "1,0", "\x00,\x00"])
def test_a_line_of_a_log_that_is_none_is_named(line):
    with pytest.raises(CalibrationError, match=r"line 3|a reading of"):
        parse_log(f"time,watts\n1,2.1\n{line}\n")


@given(st.text(max_size=200))
def test_any_text_is_a_log_or_refused(text):
    try:
        readings = parse_log(text)
    except CalibrationError as error:
        readings, said = [], str(error)
        assert said.count("\n") == 0
    assert all(watts > 0 for watts in readings)


def test_many_readings_are_better_than_one():
    assert level_of([2.0, 2.2] * 50).spread_w < level_of([2.0, 2.2] * 2).spread_w
