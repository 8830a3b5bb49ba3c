"""A sample of the faults of enrolment, renewal and return; `make sweep` tries them all."""

import pytest

from tests.lab import fault
from tests.lab.identity import WAYS, Bench, points
from tests.lab.sweep import quick_folder

POINTS = 16


@pytest.mark.skipif(not fault.STRACE, reason="strace is not installed")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_device_that_is_killed_or_has_no_disk_at_any_system_call_keeps_or_gets_its_identity(way):
    """Case I4 of the threat table, and 22 of the security cases: same id afterwards, and no second count."""
    with quick_folder() as folder:
        bench = Bench(way, folder)
        assert len(bench.calls) > 100
        found = list(points(bench, POINTS))
    assert len(found) >= POINTS
    assert [line for _, lines in found for line in lines] == []


def test_an_identity_that_is_lost_is_found(tmp_path):
    """The check itself: without the link there is none."""
    if not fault.STRACE:
        pytest.skip("strace is not installed")
    bench = Bench(WAYS[1], tmp_path)
    (bench.board.state / "identity").unlink()
    assert list(bench.board.broken(at_rest=False)) == ["it has no identity: None"]
