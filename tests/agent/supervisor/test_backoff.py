"""Reconnects: doubled, spread, forgotten after a connection that lasted."""

from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.supervisor.backoff import Backoff


def test_waits_double_up_to_a_limit_and_start_anew_after_a_connection_that_lasted():
    backoff = Backoff(1.0, 30.0, lasting_s=30.0, spread=lambda _low, high: high)
    assert [backoff.next_s(0.0) for _ in range(7)] == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert backoff.next_s(29.0) == 30.0  # accepted and thrown out: as good as not accepted
    assert backoff.next_s(31.0) == 1.0


@given(st.lists(st.floats(0, 100), max_size=2000))
def test_a_wait_is_never_zero_nor_endless(lasted):
    backoff = Backoff()
    assert all(0.5 <= backoff.next_s(lasted_s) <= 60.0 for lasted_s in lasted)


def test_a_fleet_comes_back_spread_out():
    waits = sorted(Backoff().next_s(100.0) for _ in range(1000))
    assert waits[-1] - waits[0] > 0.4
