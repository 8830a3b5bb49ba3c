"""Whether a candidate passes probation, decided from its statistics so far. Pure: no clock, no processes."""

from typing import Literal

from msgspec import Struct

from skerry_agent.wire.manifest import Probation
from skerry_agent.wire.sketch import Sketch


class CandidateStats(Struct, frozen=True):
    """A candidate's statistics since it was admitted."""

    inferences: int = 0
    errors: int = 0
    invalid_outputs: int = 0
    latency: Sketch = Sketch()
    rss_bytes: int = 0

    def plus(self, more: "CandidateStats") -> "CandidateStats":
        """These statistics and later ones together."""
        return CandidateStats(
            self.inferences + more.inferences,
            self.errors + more.errors,
            self.invalid_outputs + more.invalid_outputs,
            self.latency.merged(more.latency),
            max(self.rss_bytes, more.rss_bytes),
        )


class ProbationResult(Struct, frozen=True):
    """`wait`, `passed`, or `failed` with the gate that failed and by how much."""

    kind: Literal["wait", "passed", "failed"]
    reason: str = ""
    detail: str = ""


def judge_candidate(budget: Probation, stats: CandidateStats, elapsed_s: float) -> ProbationResult:
    """The result `elapsed_s` seconds after the candidate was admitted."""
    if stats.invalid_outputs:
        return ProbationResult("failed", "invalid_output", f"{stats.invalid_outputs} outputs held NaN or infinity")
    if budget.max_rss_bytes is not None and stats.rss_bytes > budget.max_rss_bytes:
        return ProbationResult(
            "failed", "memory_over_budget", f"{stats.rss_bytes} B resident, budget {budget.max_rss_bytes} B"
        )
    if stats.inferences + stats.errors < budget.min_inferences:
        return _too_little(budget, stats, elapsed_s)
    return _errors(budget, stats) or _latency(budget, stats) or ProbationResult("passed")


def _too_little(budget: Probation, stats: CandidateStats, elapsed_s: float) -> ProbationResult:
    if elapsed_s < budget.max_seconds:
        return ProbationResult("wait")
    seen = f"{stats.inferences} of {budget.min_inferences} inferences in {elapsed_s:.0f} s"
    return ProbationResult("failed", "too_few_inferences", seen)


def _errors(budget: Probation, stats: CandidateStats) -> ProbationResult | None:
    rate = stats.errors / (stats.inferences + stats.errors)
    if rate <= budget.max_error_rate:
        return None
    return ProbationResult(
        "failed", "too_many_errors", f"{rate:.1%} of requests failed, budget {budget.max_error_rate:.1%}"
    )


def _latency(budget: Probation, stats: CandidateStats) -> ProbationResult | None:
    p95 = stats.latency.quantile(0.95)
    if budget.latency_p95_us is None or p95 is None or p95 <= budget.latency_p95_us:
        return None
    return ProbationResult(
        "failed", "latency_over_budget", f"p95 {p95:.0f} us on real load, budget {budget.latency_p95_us:.0f} us"
    )
