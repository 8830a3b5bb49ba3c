"""A sample of the faults of an upgrade of the agent; `make sweep` tries them all."""

import random

import pytest

from skerry_agent.launch import files
from tests.lab import fault
from tests.lab.agents import WAYS, Bench, points, power_cuts
from tests.lab.sweep import quick_folder

POINTS = 12


@pytest.mark.skipif(not fault.STRACE, reason="strace is not installed")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_whatever_is_killed_or_fails_the_new_agent_runs_or_the_old_one(way):
    with quick_folder() as folder:
        bench = Bench(way, folder)
        assert len(bench.calls) > 500
        found = [*points(bench, POINTS), *power_cuts(bench, random.Random(way.name), 1)]
    assert len(found) >= POINTS
    assert [line for _, lines in found for line in lines] == []


def test_an_agent_that_is_not_whole_would_be_found(tmp_path):
    """The check itself: a file of the new agent is gone, though the record names it."""
    if not fault.STRACE:
        pytest.skip("strace is not installed")
    bench = Bench(WAYS[1], tmp_path)
    bench.reset()
    current = files.read(bench.board.agents)[0].current
    (bench.board.agents / current.folder / "skerry_agent" / "part.py").unlink()
    bench.board.play()
    assert "part.py is damaged" in bench.board.ledger.lines("broken")[0]
