"""What a candidate must show: each limit at its edge, on both sides of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.machine.probation import CandidateStats, ProbationResult, judge_candidate
from skerry_agent.ports.runner_protocol import Heartbeat
from skerry_agent.wire.manifest import Probation
from skerry_agent.wire.sketch import Recorder, Sketch

BUDGET = Probation(10, max_seconds=20.0, latency_p95_us=5000.0, max_error_rate=0.1, max_rss_bytes=1000)
WAIT, PASSED = ProbationResult("wait"), ProbationResult("passed")


def sketch(*latencies_us: float) -> Sketch:
    recorder = Recorder()
    for value in latencies_us:
        recorder.add(value)
    return recorder.take()


def failed(reason: str, detail: str) -> ProbationResult:
    return ProbationResult("failed", reason, detail)


QUICK, SLOW = [100.0], [6000.0]
CASES = {
    "nothing yet": (CandidateStats(), 0.0, WAIT),
    "just too little, just in time": (CandidateStats(9), 19.9, WAIT),
    "just too little, at the end": (
        CandidateStats(9),
        20.0,
        failed("too_few_inferences", "9 of 10 inferences in 20 s"),
    ),
    "just enough": (CandidateStats(10), 0.0, PASSED),
    "enough, late": (CandidateStats(10), 99.0, PASSED),
    "just enough with errors": (CandidateStats(9, errors=1), 0.0, PASSED),
    "too many errors": (
        CandidateStats(8, errors=2),
        0.0,
        failed("too_many_errors", "20.0% of requests failed, budget 10.0%"),
    ),
    "errors alone": (
        CandidateStats(0, errors=10),
        0.0,
        failed("too_many_errors", "100.0% of requests failed, budget 10.0%"),
    ),
    "few errors, too few to judge": (CandidateStats(0, errors=9), 0.0, WAIT),
    "one output that is no number": (
        CandidateStats(1, invalid_outputs=1),
        0.0,
        failed("invalid_output", "1 outputs held NaN or infinity"),
    ),
    "as much memory as it may": (CandidateStats(10, rss_bytes=1000), 0.0, PASSED),
    "a byte more, before anything else is known": (
        CandidateStats(0, rss_bytes=1001),
        0.0,
        failed("memory_over_budget", "1001 B resident, budget 1000 B"),
    ),
    "one slow one in twenty": (CandidateStats(20, latency=sketch(*QUICK * 19, *SLOW)), 0.0, PASSED),
    "two slow ones in twenty": (
        CandidateStats(20, latency=sketch(*QUICK * 18, *SLOW * 2)),
        0.0,
        failed("latency_over_budget", "p95 6022 us on real load, budget 5000 us"),
    ),
    "errors come before latency": (
        CandidateStats(8, errors=2, latency=sketch(*SLOW * 8)),
        0.0,
        failed("too_many_errors", "20.0% of requests failed, budget 10.0%"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_candidate_is_judged_by_what_it_showed(case: str):
    stats, elapsed_s, verdict = CASES[case]
    assert judge_candidate(BUDGET, stats, elapsed_s) == verdict


def test_what_has_no_budget_is_not_judged():
    greedy = CandidateStats(10, latency=sketch(*SLOW * 10), rss_bytes=10**12)
    assert judge_candidate(Probation(10), greedy, 0.0) == PASSED


def test_a_latency_at_its_budget_passes():
    shown = CandidateStats(10, latency=sketch(*SLOW * 10))
    exact = shown.latency.quantile(0.95)
    assert judge_candidate(Probation(10, latency_p95_us=exact), shown, 0.0) == PASSED
    assert judge_candidate(Probation(10, latency_p95_us=exact - 1), shown, 0.0).reason == "latency_over_budget"


@given(st.lists(st.tuples(*[st.integers(0, 99)] * 4), max_size=5))
def test_beats_add_up_and_the_most_memory_counts(beats: list[tuple[int, int, int, int]]):
    stats = CandidateStats()
    for inferences, errors, invalid, rss in beats:
        latency = sketch(*QUICK * inferences)
        stats = stats.plus(Heartbeat(inferences, errors, invalid, 0, latency, busy_s=0.0, rss_bytes=rss, cpu_s=0.0))
    done, errors, invalid, rss = zip(*beats, strict=True) if beats else ((), (), (), ())
    assert (stats.inferences, stats.errors, stats.invalid_outputs) == (sum(done), sum(errors), sum(invalid))
    assert (stats.latency.count, stats.rss_bytes) == (sum(done), max(rss, default=0))
