"""What a candidate must show: each limit at its edge, on both sides of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.machine.memory_growth import Growth
from skerry_agent.machine.probation import CandidateStats, ExerciseStats, ProbationResult, judge_candidate
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
NOTHING = failed("too_few_inferences", "nothing was answered in 20 s, not even a golden input")


def golden(inferences: int, latency: Sketch | None = None, **more: int) -> ExerciseStats:
    return ExerciseStats(inferences, latency=latency or sketch(*QUICK * inferences), **more)


CASES = {
    # -- real load alone
    "nothing yet": (CandidateStats(), 0.0, WAIT),
    "just too little, just in time": (CandidateStats(9), 19.9, WAIT),
    "a little, at the end": (CandidateStats(1), 20.0, PASSED),
    "nothing at all, at the end": (CandidateStats(), 20.0, NOTHING),
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
    "few errors, at the end": (
        CandidateStats(2, errors=2),
        20.0,
        failed("too_many_errors", "50.0% of requests failed, budget 10.0%"),
    ),
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
    # -- golden inputs: an empty folder, an API that nobody asks
    "golden inputs alone, enough, early": (CandidateStats(exercised=golden(10)), 9.9, WAIT),
    "golden inputs alone, enough": (CandidateStats(exercised=golden(10)), 10.0, PASSED),
    "golden inputs alone, too few": (CandidateStats(exercised=golden(9)), 19.9, WAIT),
    "golden inputs alone, at the end": (CandidateStats(exercised=golden(1)), 20.0, PASSED),
    "real load and golden inputs together": (CandidateStats(3, exercised=golden(7)), 10.0, PASSED),
    "one wrong answer": (
        CandidateStats(exercised=golden(3, wrong=1)),
        0.0,
        failed("golden_mismatch", "1 of 3 golden inputs were answered wrongly"),
    ),
    "one wrong answer under much good load": (
        CandidateStats(999, exercised=golden(3, wrong=1)),
        0.0,
        failed("golden_mismatch", "1 of 3 golden inputs were answered wrongly"),
    ),
    "golden inputs without answers": (
        CandidateStats(exercised=golden(0, errors=2)),
        20.0,
        failed("too_many_errors", "100.0% of golden inputs failed, budget 10.0%"),
    ),
    "an error of golden inputs, hidden by none of real load": (
        CandidateStats(100, exercised=golden(5, errors=5)),
        0.0,
        failed("too_many_errors", "50.0% of golden inputs failed, budget 10.0%"),
    ),
    "an error of real load, hidden by no golden inputs": (
        CandidateStats(0, errors=2, exercised=golden(50)),
        10.0,
        failed("too_many_errors", "20.0% of requests failed, budget 10.0%"),
    ),
    "golden inputs too slow": (
        CandidateStats(exercised=golden(10, sketch(*SLOW * 10))),
        10.0,
        failed("latency_over_budget", "p95 6022 us on 0 requests and 10 golden inputs, budget 5000 us"),
    ),
    "golden inputs too slow, enough quick real load": (
        CandidateStats(10, latency=sketch(*QUICK * 10), exercised=golden(10, sketch(*SLOW * 10))),
        0.0,
        PASSED,
    ),
    "golden inputs quick, enough slow real load": (
        CandidateStats(10, latency=sketch(*SLOW * 10), exercised=golden(900)),
        0.0,
        failed("latency_over_budget", "p95 6022 us on real load, budget 5000 us"),
    ),
    # -- memory that grows
    "grows fast": (
        CandidateStats(10, growth=Growth(3e5, 2e5, 2**23)),
        0.0,
        failed("memory_growing", "memory grows by 1080.00 MB/h (at least 720.00), 8388608 B so far"),
    ),
    "grows, perhaps": (CandidateStats(10, growth=Growth(3e5, 0.0, 2**23)), 0.0, PASSED),
    "grows slowly: for the alarm": (CandidateStats(10, growth=Growth(3e4, 2e4, 2**23)), 0.0, PASSED),
    "has hardly grown": (CandidateStats(10, growth=Growth(3e5, 2e5, 2**21)), 0.0, PASSED),
    "quiet, and too early to say whether memory grows": (
        CandidateStats(exercised=golden(10), may_grow=True),
        19.9,
        WAIT,
    ),
    "quiet, and still not to be said": (CandidateStats(exercised=golden(10), may_grow=True), 20.0, PASSED),
    "asked enough: nobody is held up": (CandidateStats(10, may_grow=True), 0.0, PASSED),
    # -- answers that find nothing
    "nothing found yet, where there was something": (CandidateStats(99, found="undecided"), 19.9, WAIT),
    "nothing found in a while": (CandidateStats(99, found="failed"), 19.9, WAIT),
    "nothing found, for too short": (CandidateStats(99, found="undecided"), 20.0, PASSED),
    "nothing found at the end": (
        CandidateStats(99, found="failed"),
        20.0,
        failed("no_positive_output", "none of 99 answers was positive, where the release before had some all the time"),
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


@given(st.lists(st.tuples(*[st.integers(0, 99)] * 7), max_size=5))
def test_statistics_add_up_and_the_most_memory_counts(beats: list[tuple[int, ...]]):
    stats = CandidateStats()
    for inferences, errors, invalid, rss, run, failures, wrong in beats:
        exercised = golden(run, errors=failures, wrong=wrong)
        latency = sketch(*QUICK * inferences)
        stats = stats.plus(CandidateStats(inferences, errors, invalid, latency, rss, exercised))
    done, errors, invalid, rss, run, failures, wrong = zip(*beats, strict=True) if beats else ((),) * 7
    assert (stats.inferences, stats.errors, stats.invalid_outputs) == (sum(done), sum(errors), sum(invalid))
    assert (stats.latency.count, stats.rss_bytes) == (sum(done), max(rss, default=0))
    assert (stats.exercised.inferences, stats.exercised.errors, stats.exercised.wrong) == (
        sum(run), sum(failures), sum(wrong),
    )  # fmt: skip
    assert stats.exercised.latency.count == sum(run)
    assert stats.run == sum((*done, *errors, *run, *failures))


WELL = st.builds(
    CandidateStats,
    inferences=st.integers(0, 200),
    latency=st.just(Sketch()),
    exercised=st.builds(ExerciseStats, inferences=st.integers(0, 200)),
)


@given(WELL, st.floats(0, 100))
def test_what_has_answered_anything_and_nothing_badly_is_never_failed(stats: CandidateStats, elapsed_s: float):
    """The rule that no release is blamed without a golden input that fails, or real load that it answered badly."""
    result = judge_candidate(BUDGET, stats, elapsed_s)
    assert result.kind != "failed" or not stats.run
    assert elapsed_s < BUDGET.max_seconds or result.kind != "wait"
