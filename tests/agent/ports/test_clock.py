"""The supervisor's queue: nobody is kept out."""

import time

from skerry_agent.ports.clock import EventQueue


def test_work_that_is_always_due_keeps_no_call_out():
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
