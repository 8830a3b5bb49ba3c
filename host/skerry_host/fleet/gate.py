"""The gate of a wave: decides from the outcomes of its deployments whether the next wave may start. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from skerry_agent.wire.twin import Outcome
from skerry_host.fleet.policy import Policy


@dataclass(frozen=True, slots=True)
class GateResult:
    """Whether a wave passed, and why in one line."""

    passed: bool
    reason: str


def evaluate_gate(policy: Policy, outcomes: Sequence[Outcome]) -> GateResult:
    """A wave passes when the fraction of its deployments that did not succeed is within the policy."""
    missed = Counter(outcome for outcome in outcomes if outcome != "succeeded")
    if missed.total() <= policy.max_unsuccessful * len(outcomes):
        return GateResult(True, f"{len(outcomes) - missed.total()} of {len(outcomes)} succeeded")
    counts = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in sorted(missed.items()))
    return GateResult(False, f"{counts} of {len(outcomes)}, {policy.max_unsuccessful:.0%} allowed")
