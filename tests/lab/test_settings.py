"""A sample of the faults of an order of settings and its trial; `make sweep` tries them all."""

import pytest

from tests.lab import fault
from tests.lab.settings import WAYS, Bench, points
from tests.lab.sweep import quick_folder

POINTS = 14


@pytest.mark.skipif(not fault.STRACE, reason="strace is not installed")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_device_that_is_killed_or_has_no_disk_at_any_system_call_works_by_what_was_kept_or_is_tried(way):
    with quick_folder() as folder:
        bench = Bench(way, folder)
        assert len(bench.calls) > 20
        found = list(points(bench, POINTS))
    assert len(found) >= POINTS
    assert [line for _, lines in found for line in lines] == []


def test_what_is_lost_is_found(tmp_path):
    """The check itself: without both copies what was kept before is gone."""
    if not fault.STRACE:
        pytest.skip("strace is not installed")
    bench = Bench(WAYS[1], tmp_path)
    bench.reset()
    for copy in (bench.run / "state").glob("settings*"):
        copy.unlink()
    assert any("is lost" in line for line in bench._after("nothing"))
