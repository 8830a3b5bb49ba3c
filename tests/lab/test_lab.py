"""The laboratory's sample, and proof that it detects: with a safeguard taken away, it finds broken devices."""

import random

import pytest

from tests.lab import fault, hostile, pairs, power
from tests.lab.disk_model import Recording
from tests.lab.points import bench
from tests.lab.scenarios import SIZES, rows
from tests.lab.sweep import CASES, SAMPLE, SEED, quick_folder, refusal, run_case

ROWS = rows(SIZES[:1])
SAMPLED = [
    pytest.param(case, row, id=f"{case}-{row.name.partition('/')[0]}")
    for case in CASES
    for row in ROWS
    if case.startswith("kill") or not row.name.startswith(("runtime_", "spare"))  # others stand for them
]


@pytest.fixture(scope="module")
def folder():
    with quick_folder() as made:
        yield made


needs_strace = pytest.mark.skipif(not fault.STRACE, reason="strace is not installed")


@pytest.mark.parametrize(("case", "scenario"), SAMPLED)
def test_sample(case, scenario, folder):
    if refusal(case):
        pytest.skip(refusal(case))
    result = run_case(case, scenario, SAMPLE, folder)
    assert result.broken == []


def test_malformed_models():
    counts = hostile.sweep(SAMPLE.models, SEED)
    assert counts.broken == []
    assert counts.outcomes["refused"] > counts.points / 2


def test_random_pairs_of_models():
    counts = pairs.sweep(SAMPLE.pairs)
    assert (counts.points, counts.failed, counts.broken) == (SAMPLE.pairs, 0, [])


def test_a_pair_follows_from_its_seed():
    assert pairs.pair(7) == pairs.pair(7)


def test_pairs_find_a_candidate_that_fails():
    def failing(old, new, guard, _progress):
        with guard("model"):
            raise ValueError("shapes")
        return {}

    _, issues = pairs.check_pair(b"old", b"new", failing)
    assert ["ValueError: shapes" in issue for issue in issues] == [True]


@needs_strace
def test_power_loss_finds_a_device_that_never_syncs(tmp_path):
    """The same run, with every fsync left out, must break devices: kill -9 alone could not show it."""
    at = bench(ROWS[2], tmp_path)
    honest = power.record(at)
    forgetful = Recording(honest.before, honest.ops, [])
    losses = list(power.losses(forgetful, random.Random(1), moments=6))
    assert any(power.lose(at, loss) for loss in losses)


@needs_strace
def test_a_recorded_run_is_the_same_every_time(tmp_path):
    at = bench(ROWS[1], tmp_path)
    at.reset()
    again = fault.record(at.play, at.folder, tmp_path / "again")
    assert [str(call) for call in again] == [str(call) for call in at.calls]
