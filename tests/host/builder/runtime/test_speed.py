"""What is fastest here: recorded and said, for the threads that board and machine have."""

import pytest

from skerry_host.boards import load_board
from skerry_host.build_record import Speed
from skerry_host.builder.runtime.latency import Latency
from skerry_host.builder.runtime.speed import Timed, counts, measured, remark


@pytest.mark.parametrize(("cores", "expected"), [(1, [1]), (2, [1, 2]), (3, [1, 2]), (64, [1, 2, 4])])
def test_as_many_threads_as_board_and_machine_have(cores, expected):
    assert counts(load_board("raspberry-pi-4"), cores) == expected


@pytest.mark.parametrize(
    ("speeds", "line"),
    [
        ([Speed("int8", 1, 50.0)], "on this machine int8 with 1 thread (50 us) is fastest"),
        (
            [Speed("float", 2, 50.0), Speed("int8", 1, 90.0)],
            "on this machine float with 2 threads (50 us) is fastest, against int8 with 1 thread (90 us)",
        ),
        (
            [Speed("int8", 1, 50.0), Speed("int8", 2, 51.0), Speed("float", 1, 52.0)],
            "on this machine int8 with 1 thread (50 us) is fastest, barely faster than float with 1 thread (52 us)",
        ),
    ],
)
def test_the_line(speeds, line):
    assert remark(tuple(speeds)) == line


def test_what_is_known_of_one_thread_is_not_measured_again():
    """Nothing can be measured of these: no bytes of them are a model."""
    models = [Timed(form, b"", Latency(5, us, us, us)) for form, us in (("int8", 9.0), ("float", 7.0))]
    assert measured(models, [1]) == (Speed("float", 1, 7.0), Speed("int8", 1, 9.0))


def test_a_build_records_it(built):
    speeds = built.record.speeds_on_this_machine
    assert {speed.form for speed in speeds} == {"int8", "float"}
    assert [speed.p50_us for speed in speeds] == sorted(speed.p50_us for speed in speeds)
    assert remark(speeds).startswith("on this machine")
    assert remark(()) == ""
