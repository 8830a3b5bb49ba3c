"""When clocks are doubted, and how pauses grow."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.identity.board_serial import board_serial
from skerry_agent.identity.decisions import is_doubtful, is_valid_at, pauses, renewal_due
from skerry_agent.ports.clock import PLAUSIBLE_WALL_S, TOLERATED_S, HostOffset
from skerry_agent.state.identity import Identity

DAY_S = 86_400.0
BEGINS, ENDS = 1_800_000_000.0, 1_800_000_000.0 + 91 * DAY_S


@pytest.mark.parametrize(
    ("wall", "doubtful"),
    [
        (0.0, True),
        (PLAUSIBLE_WALL_S - 1, True),
        (BEGINS - DAY_S, True),
        (BEGINS + 1, False),
        (ENDS - 1, False),
        (ENDS + 1, True),
        (2**31 + 1.0, True),
    ],
)
def test_a_clock_is_doubted_where_the_devices_own_certificate_is_not_valid_by_it(wall, doubtful):
    assert is_doubtful(wall, BEGINS, ENDS) == doubtful


@given(st.text("0123456789abcdef", min_size=1, max_size=32), st.floats(1.0, 4000.0))
def test_a_certificate_is_renewed_between_six_and_eight_tenths_of_its_life_and_always_at_the_same_moment(serial, days):
    identity = Identity("edge-17", "0" * 32, serial, BEGINS, BEGINS + days * DAY_S)
    share = (renewal_due(identity) - BEGINS) / (days * DAY_S)
    assert 0.6 < share < 0.8
    assert renewal_due(identity) == renewal_due(identity)


def test_pauses_grow_up_to_the_longest():
    assert list(itertools.islice(pauses(1.0, 3.0, 20.0), 5)) == [1.0, 3.0, 9.0, 20.0, 20.0]


def test_a_certificate_is_valid_from_a_little_before_to_its_end():
    assert [is_valid_at(now, BEGINS, ENDS) for now in (BEGINS - DAY_S, BEGINS - 60, ENDS, ENDS + 1)] == [
        False,
        True,
        True,
        False,
    ]


# -- the host's time ---------------------------------------------------------------------------------------------------


def test_a_clock_that_is_nearly_right_is_gone_by():
    offset = HostOffset()
    offset.learn(BEGINS, BEGINS - TOLERATED_S / 2, 10.0)
    assert offset.corrected(BEGINS, 20.0) == BEGINS


def test_a_clock_that_is_wrong_is_corrected_until_somebody_sets_it():
    offset = HostOffset()
    offset.learn(BEGINS, 100.0, 10.0)
    assert offset.corrected(160.0, 70.0) == BEGINS + 60.0
    assert offset.corrected(BEGINS + 90.0, 100.0) == BEGINS + 90.0
    assert offset.corrected(BEGINS + 100.0, 110.0) == BEGINS + 100.0


# -- the hardware's serial number --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "content", "serial"),
    [
        ("proc/device-tree/serial-number", b"10000000abcdef01\0", "10000000abcdef01"),
        ("sys/class/dmi/id/product_serial", b"PF3ABCDE\n", "PF3ABCDE"),
        ("sys/class/dmi/id/product_serial", b"To be filled by O.E.M.\n", ""),
        ("sys/class/dmi/id/board_serial", b"x" * 1000, "x" * 128),
        ("elsewhere", b"1", ""),
    ],
)
def test_the_serial_number_is_that_of_the_board(tmp_path, place, content, serial):
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_bytes(content)
    assert board_serial(tmp_path) == serial
