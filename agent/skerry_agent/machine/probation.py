"""Whether a candidate passes probation, decided from its statistics so far. Pure: no clock, no processes.

A release is failed only by a golden input that it answers wrongly or not at all, by real load that it answers badly, or
by what it takes of the board while it answers. That nobody asked it anything is no fault: then golden inputs, which run
whenever no other load comes, are the evidence. See `judge_candidate` for what passes.
"""

from typing import Literal

from msgspec import Struct

from skerry_agent.machine.memory_growth import NONE, Growth
from skerry_agent.wire.manifest import Probation
from skerry_agent.wire.sketch import Sketch

GROWTH_LIMIT = 64 * 1024
"""Bytes a second, 236 MB an hour: what surely grows faster fails; slower growth is for the alarm afterwards."""
LEAST_GROWN = 4 * 1024 * 1024
"""Bytes that it must have grown by, whatever the slope: some models take 2 MB by and by and give them back."""


class ExerciseStats(Struct, frozen=True):
    """What golden inputs did: `wrong` were answered otherwise than recorded, `errors` not at all."""

    inferences: int = 0
    errors: int = 0
    wrong: int = 0
    latency: Sketch = Sketch()

    def plus(self, more: "ExerciseStats") -> "ExerciseStats":
        """These and later ones together."""
        return ExerciseStats(
            self.inferences + more.inferences,
            self.errors + more.errors,
            self.wrong + more.wrong,
            self.latency.merged(more.latency),
        )


class CandidateStats(Struct, frozen=True):
    """A candidate's statistics since it was admitted: of real load, and apart from it of golden inputs.

    `growth` is of its memory since it was warm; `found` what its positive answers say (`positives.judge_trial`).
    `may_grow`: its memory has risen, and it is too early to say whether it goes on to.
    """

    inferences: int = 0
    errors: int = 0
    invalid_outputs: int = 0
    latency: Sketch = Sketch()
    rss_bytes: int = 0
    exercised: ExerciseStats = ExerciseStats()
    growth: Growth = NONE
    found: Literal["passed", "undecided", "failed"] = "passed"
    may_grow: bool = False

    def plus(self, more: "CandidateStats") -> "CandidateStats":
        """These statistics and later ones together; of memory and of what was found the later ones."""
        return CandidateStats(
            self.inferences + more.inferences,
            self.errors + more.errors,
            self.invalid_outputs + more.invalid_outputs,
            self.latency.merged(more.latency),
            max(self.rss_bytes, more.rss_bytes),
            self.exercised.plus(more.exercised),
            more.growth,
            more.found,
            more.may_grow,
        )

    @property
    def asked(self) -> int:
        """Inferences of real load, answered or not."""
        return self.inferences + self.errors

    @property
    def run(self) -> int:
        """Inferences of any kind, answered or not."""
        return self.asked + self.exercised.inferences + self.exercised.errors


class ProbationResult(Struct, frozen=True):
    """`wait`, `passed`, or `failed` with the gate that failed and by how much."""

    kind: Literal["wait", "passed", "failed"]
    reason: str = ""
    detail: str = ""


WAIT, PASSED = ProbationResult("wait"), ProbationResult("passed")


def judge_candidate(budget: Probation, stats: CandidateStats, elapsed_s: float) -> ProbationResult:
    """The result `elapsed_s` seconds after the candidate was admitted.

    At any time a wrong answer to a golden input, an invalid output or too much memory fails. All else is judged once
    enough has run: `min_inferences` of real load; or, after half of `max_seconds`, as many of real load and golden
    inputs together; or, at `max_seconds`, whatever has run, so that a quiet or slow device is no reason to fail. Only
    a candidate that has run nothing at all by then, not even golden inputs, has failed for that.

    A candidate that found nothing, where the release before found something all the time, waits until `max_seconds`.
    One that hardly anybody asks waits, too, while its memory may be growing: nobody is in a hurry.
    """
    over = elapsed_s >= budget.max_seconds
    if result := _at_any_time(budget, stats):
        return result
    quiet = stats.asked < budget.min_inferences
    if not over and (not _enough(budget, stats, elapsed_s) or (quiet and stats.may_grow)):
        return WAIT
    if not stats.run:
        detail = f"nothing was answered in {elapsed_s:.0f} s, not even a golden input"
        return ProbationResult("failed", "too_few_inferences", detail)
    if result := _errors(budget, stats) or _latency(budget, stats) or _growth(stats):
        return result
    if stats.found == "passed":
        return PASSED
    return _nothing_found(stats) if over else WAIT


def _enough(budget: Probation, stats: CandidateStats, elapsed_s: float) -> bool:
    if stats.asked >= budget.min_inferences:
        return True
    return elapsed_s >= budget.max_seconds / 2 and stats.run >= budget.min_inferences


def _at_any_time(budget: Probation, stats: CandidateStats) -> ProbationResult | None:
    if stats.invalid_outputs:
        return ProbationResult("failed", "invalid_output", f"{stats.invalid_outputs} outputs held NaN or infinity")
    if stats.exercised.wrong:
        detail = f"{stats.exercised.wrong} of {stats.exercised.inferences} golden inputs were answered wrongly"
        return ProbationResult("failed", "golden_mismatch", detail)
    if budget.max_rss_bytes is not None and stats.rss_bytes > budget.max_rss_bytes:
        detail = f"{stats.rss_bytes} B resident, budget {budget.max_rss_bytes} B"
        return ProbationResult("failed", "memory_over_budget", detail)
    return None


def _errors(budget: Probation, stats: CandidateStats) -> ProbationResult | None:
    """Of real load and of golden inputs, each by itself: the one never hides the other.

    Where less has run than `min_inferences`, an error is as large a share as it would be of so many.
    """
    exercised = stats.exercised
    asked = (
        ("requests", stats.asked, stats.errors),
        ("golden inputs", exercised.inferences + exercised.errors, exercised.errors),
    )
    for what, count, errors in asked:
        rate = errors / max(count, min(budget.min_inferences, stats.run), 1)
        if rate > budget.max_error_rate:
            detail = f"{rate:.1%} of {what} failed, budget {budget.max_error_rate:.1%}"
            return ProbationResult("failed", "too_many_errors", detail)
    return None


def _latency(budget: Probation, stats: CandidateStats) -> ProbationResult | None:
    """On real load where there is enough of it, else on real load and golden inputs together."""
    real = stats.latency.count >= budget.min_inferences or not stats.exercised.latency.count
    latency = stats.latency if real else stats.latency.merged(stats.exercised.latency)
    p95 = latency.quantile(0.95)
    if budget.latency_p95_us is None or p95 is None or p95 <= budget.latency_p95_us:
        return None
    golden = f"{stats.latency.count} requests and {stats.exercised.latency.count} golden inputs"
    where = "real load" if real else golden
    detail = f"p95 {p95:.0f} us on {where}, budget {budget.latency_p95_us:.0f} us"
    return ProbationResult("failed", "latency_over_budget", detail)


def _growth(stats: CandidateStats) -> ProbationResult | None:
    growth = stats.growth
    if growth.at_least <= GROWTH_LIMIT or growth.grown_bytes < LEAST_GROWN:
        return None
    return ProbationResult("failed", "memory_growing", f"memory grows by {growth}")


def _nothing_found(stats: CandidateStats) -> ProbationResult:
    if stats.found == "undecided":
        return PASSED
    detail = f"none of {stats.inferences} answers was positive, where the release before had some all the time"
    return ProbationResult("failed", "no_positive_output", detail)
