"""Whether a plane runs: judged by its heartbeat, the clock of whoever asks and, of this machine, the process list."""

import os

import pytest

from skerry_host.plane.registry.records.heartbeats import Heartbeat
from skerry_host.plane.views.plane_state import DEAD_S, judge, process_exists, this_boot

NOW = 1_800_000_000.0


def beat(age_s=1.0, ticked_s=1.0, stopped_s=None, **others):
    stopped = None if stopped_s is None else NOW - stopped_s
    own = {"pid": os.getpid(), "host": "h", "boot": this_boot(), "version": "1", "instance": "i", **others}
    return Heartbeat(at=NOW - age_s, ticked=NOW - ticked_s, started=NOW - 900, stopped=stopped, **own)


@pytest.mark.parametrize(
    ("heartbeat", "exists", "state"),
    [
        (None, True, "never"),
        (beat(), True, "running"),
        (beat(DEAD_S - 0.1), True, "running"),
        (beat(DEAD_S + 0.1), True, "lost"),
        (beat(), False, "lost"),
        (beat(stopped_s=5), True, "stopped"),
        (beat(ticked_s=70), True, "hanging"),
        (beat(-1.0), True, "running"),
        (beat(-3600.0), True, "lost"),
    ],
    ids=["never", "runs", "late", "silent", "killed", "ended", "hangs", "clocks_differ", "of_the_future"],
)
def test_what_a_heartbeat_says(heartbeat, exists, state):
    assert judge(heartbeat, NOW, lambda _: exists).state == state


@pytest.mark.parametrize(
    ("heartbeat", "line"),
    [
        (beat(), ""),
        (None, "the plane has never run here; start it with `skerry serve`"),
        (beat(stopped_s=180), "(3 min ago); start it with `skerry serve`"),
        (beat(-3600.0), "(now); start it with `skerry serve`"),
        (beat(ticked_s=300, pid=42), "the plane (process 42) has carried out nothing since"),
    ],
)
def test_it_is_said_in_one_line(heartbeat, line):
    said = judge(heartbeat, NOW, lambda _: True).line(NOW)
    assert line in said
    assert bool(said) == bool(line)


def test_a_process_is_looked_for_only_in_its_own_process_list():
    gone = 2**22 + 1
    assert process_exists(beat())
    assert not process_exists(beat(pid=gone))
    assert process_exists(beat(pid=gone, boot="another machine")), "nobody here can know"
