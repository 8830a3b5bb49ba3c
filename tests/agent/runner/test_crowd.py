"""Who is over time and who gives way: a table of situations, and that nobody who is being served ever does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.runner.http.crowd import Crowd, Limits, Phase

LIMITS = Limits(idle_s=75, request_s=30, answer_s=20, closing_s=1, crowded_s=3)


def crowd_of(*members):
    crowd = Crowd(LIMITS)
    for name, phase, since in sorted(members, key=lambda member: member[2]):
        crowd.enter(name, phase, since)
    return crowd


@pytest.mark.parametrize(
    ("members", "now", "first"),
    [
        ([("a", Phase.IDLE, 0), ("b", Phase.IDLE, 1)], 1, "a"),
        ([("a", Phase.IDLE, 0), ("b", Phase.SILENT, 1)], 1, "b"),
        ([("a", Phase.SILENT, 0), ("b", Phase.CLOSING, 1)], 1, "b"),
        ([("a", Phase.ARRIVING, 0), ("b", Phase.IDLE, 50)], 50, "b"),
        ([("a", Phase.ARRIVING, 0), ("b", Phase.ARRIVING, 1)], 2.9, None),
        ([("a", Phase.ARRIVING, 0), ("b", Phase.ARRIVING, 1)], 3, "a"),
        ([("a", Phase.TAKING, 0)], 2.9, None),
        ([("a", Phase.TAKING, 0)], 3, "a"),
        ([("a", Phase.SERVED, 0), ("b", Phase.HELD, 0)], 1e9, None),
        ([], 0, None),
    ],
)
def test_who_gives_way_where_there_is_no_room(members, now, first):
    found = crowd_of(*members).giving_way(now)
    assert (found and found[0]) == first


@pytest.mark.parametrize(
    ("phase", "limit_s"),
    [(Phase.CLOSING, 1), (Phase.SILENT, 75), (Phase.IDLE, 75), (Phase.ARRIVING, 30), (Phase.TAKING, 20)],
)
def test_how_long_a_phase_lasts(phase, limit_s):
    crowd = crowd_of(("a", phase, 100))
    assert crowd.look_at == 100 + limit_s
    assert crowd.expired(99 + limit_s) == []
    assert crowd.expired(100 + limit_s) == [("a", phase)]


def test_a_request_that_drips_gets_no_more_time():
    crowd = crowd_of(("a", Phase.ARRIVING, 0))
    for second in range(29):
        crowd.enter("a", Phase.ARRIVING, second)
    assert crowd.expired(30) == [("a", Phase.ARRIVING)]


@pytest.mark.parametrize(
    ("phase", "since", "limit"),
    [
        (Phase.IDLE, 100, 105),
        (Phase.SILENT, 100, 105),
        (Phase.ARRIVING, 99, 105),
        (Phase.ARRIVING, 104, 107),
        (Phase.HELD, 99, 105),
    ],
)
def test_a_drain_waits_for_nobody_longer_than_a_moment_after_its_end(phase, since, limit):
    crowd = crowd_of(("a", phase, since))
    crowd.end(105)
    assert crowd.expired(limit - 0.1) == []
    assert crowd.expired(limit) == [("a", phase)]


@pytest.mark.parametrize(("held", "after_s"), [(1, 3), (4, 3), (8, 1.5), (400, 0.03)])
def test_the_more_wait_for_a_place_the_sooner_who_dawdles_loses_his(held, after_s):
    crowd = crowd_of(("slow", Phase.ARRIVING, 0), *((f"held {at}", Phase.HELD, 0) for at in range(held)))
    assert list(crowd.dawdling(4, 0.99 * after_s)) == []
    assert list(crowd.dawdling(4, after_s)) == ["slow"]


STEP = st.tuples(st.integers(0, 5), st.sampled_from([*Phase, None]), st.floats(0, 20))


@given(st.lists(STEP, max_size=60), st.booleans())
def test_nobody_who_is_served_leaves_and_nobody_is_late(steps, ends):
    crowd, since, now = Crowd(LIMITS), {}, 0.0
    if ends:
        crowd.end(40)
    for name, phase, later in steps:
        now += later
        if phase is None and name in since:
            crowd.leave(name)
            del since[name]
        elif phase is not None:
            crowd.enter(name, phase, now)
            if name not in since or since[name][0] is not phase:
                since[name] = phase, now
        looks_at, expired = crowd.look_at, dict(crowd.expired(now))
        assert not expired or looks_at <= now
        assert crowd.look_at is None or now < crowd.look_at <= now + 75
        assert Phase.SERVED not in expired.values()
        assert Phase.HELD not in expired.values() or now >= 40 <= 40 * ends
        for one, (at, began) in since.items():
            limit = {Phase.CLOSING: 1, Phase.SILENT: 75, Phase.IDLE: 75, Phase.ARRIVING: 30, Phase.TAKING: 20}.get(at)
            assert one in expired or limit is None or now < began + limit
        for one in expired:
            crowd.leave(one)
            del since[one]
        found = crowd.giving_way(now)
        assert found is None or since[found[0]][0] is found[1] not in {Phase.SERVED, Phase.HELD}
        assert len(crowd) == len(since)
