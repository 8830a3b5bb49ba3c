"""What a heartbeat counts: the CPU time of inferences, and not what loading and validating took."""

import time

from skerry_agent.runner.session import HeartbeatMaker


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_what_loading_took_is_in_no_heartbeat_after_it():
    """Before, the first inferences of a release had its load in their energy."""
    heartbeats = HeartbeatMaker(1.0)
    burn(0.1)
    heartbeats.count_cpu_from_now()
    burn(0.02)
    assert 0.02 <= heartbeats.next().cpu_s < 0.08
    assert heartbeats.next().cpu_s < 0.02
