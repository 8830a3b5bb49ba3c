"""The supervisor's queue: timers do not starve calls."""

import time

from skerry_agent.ports.clock import EventQueue


def test_timers_that_are_always_due_do_not_starve_calls():
    """Reports on a card that takes longer to write one than the interval lasts."""
    queue, runs = EventQueue(), []

    def again():
        queue.after(0.0, again)
        runs.append(time.sleep(0.001))
        queue.post(queue.stop)
        if len(runs) > 100:
            queue.stop()

    queue.after(0.0, again)
    queue.run()
    assert len(runs) < 3


def test_the_hosts_time_is_gone_by_where_the_boards_clock_is_wrong_and_sets_none():
    queue, right = EventQueue(), time.time() + 1e6
    queue.host_says(right)
    assert abs(queue.wall() - right) < 60.0
    assert abs(queue.system_wall() - time.time()) < 60.0
    queue.host_says(time.time() + 10.0)
    assert abs(queue.wall() - time.time()) < 5.0
