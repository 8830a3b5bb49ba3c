"""A burst and a rate: what passes is bounded, and a clock that jumps grants nothing."""

from hypothesis import given
from hypothesis import strategies as st

from skerry_host.plane.token_bucket import Rate, TokenBucket

RATE = Rate(10, 2)


@given(st.lists(st.floats(-100, 100), max_size=200))
def test_never_more_passes_than_the_burst_and_what_the_time_gives(steps):
    now, passed, gone = 1000.0, 0, 0.0
    bucket = TokenBucket(RATE, now)
    for step in steps:
        now += step
        gone += max(0.0, step)
        while bucket.lets_one_pass(now):
            passed += 1
    assert passed <= RATE.burst + RATE.per_s * gone + 1e-6


def test_it_is_full_again_after_a_while_and_never_fuller():
    bucket = TokenBucket(RATE, 0.0)
    bucket.take(30)
    assert bucket.level(5.0) == -10
    assert bucket.level(15.0) == 10
    assert bucket.level(1e9) == 10
