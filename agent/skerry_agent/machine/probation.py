"""Whether a candidate has met its probation: a pure judgement over what it has shown so far. No clock, no processes."""

from typing import Literal

from msgspec import Struct

from skerry_agent.wire.manifest import Probation
from skerry_agent.wire.sketch import Sketch


class Tally(Struct, frozen=True):
    """What a candidate has shown since it was admitted."""

    inferences: int = 0
    errors: int = 0
    invalid_outputs: int = 0
    latency: Sketch = Sketch()
    rss_bytes: int = 0

    def plus(self, more: "Tally") -> "Tally":
        """This and what it has shown since."""
        return Tally(
            self.inferences + more.inferences,
            self.errors + more.errors,
            self.invalid_outputs + more.invalid_outputs,
            self.latency.merged(more.latency),
            max(self.rss_bytes, more.rss_bytes),
        )


class Verdict(Struct, frozen=True):
    """`wait`, `passed`, or `failed` with the gate that failed and by how much."""

    kind: Literal["wait", "passed", "failed"]
    reason: str = ""
    detail: str = ""


def judge(budget: Probation, tally: Tally, elapsed_s: float) -> Verdict:
    """Judge a candidate `elapsed_s` seconds after it was admitted."""
    if tally.invalid_outputs:
        return Verdict("failed", "invalid_output", f"{tally.invalid_outputs} outputs held NaN or infinity")
    if budget.max_rss_bytes is not None and tally.rss_bytes > budget.max_rss_bytes:
        return Verdict("failed", "memory_over_budget", f"{tally.rss_bytes} B resident, budget {budget.max_rss_bytes} B")
    if tally.inferences + tally.errors < budget.min_inferences:
        return _too_little(budget, tally, elapsed_s)
    return _errors(budget, tally) or _latency(budget, tally) or Verdict("passed")


def _too_little(budget: Probation, tally: Tally, elapsed_s: float) -> Verdict:
    if elapsed_s < budget.max_seconds:
        return Verdict("wait")
    seen = f"{tally.inferences} of {budget.min_inferences} inferences in {elapsed_s:.0f} s"
    return Verdict("failed", "too_few_inferences", seen)


def _errors(budget: Probation, tally: Tally) -> Verdict | None:
    rate = tally.errors / (tally.inferences + tally.errors)
    if rate <= budget.max_error_rate:
        return None
    return Verdict("failed", "too_many_errors", f"{rate:.1%} of requests failed, budget {budget.max_error_rate:.1%}")


def _latency(budget: Probation, tally: Tally) -> Verdict | None:
    p95 = tally.latency.quantile(0.95)
    if budget.latency_p95_us is None or p95 is None or p95 <= budget.latency_p95_us:
        return None
    return Verdict(
        "failed", "latency_over_budget", f"p95 {p95:.0f} us on real load, budget {budget.latency_p95_us:.0f} us"
    )
