"""What is done now and then: once a period, whatever the clock does."""

from skerry_host.plane.every import Every


def test_it_is_due_at_once_and_then_once_a_period():
    every = Every(10.0)
    assert [now for now in range(100, 131, 3) if every.is_due(now)] == [100, 112, 124]


def test_it_can_begin_with_a_whole_period():
    every = Every(10.0, last=100.0)
    assert [every.is_due(now) for now in (100.0, 109.9, 110.0, 111.0)] == [False, False, True, False]


def test_a_clock_that_is_set_back_does_not_hold_it_up():
    every = Every(10.0)
    assert every.is_due(1_000_000.0)
    assert every.is_due(500.0)
    assert not every.is_due(505.0)
