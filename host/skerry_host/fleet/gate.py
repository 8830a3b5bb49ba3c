"""The gate of a wave: a pure judgement of deployments that have all ended. Measures nothing itself."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from skerry_agent.wire.twin import Outcome
from skerry_host.fleet.policy import Policy


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a wave passed, and why in one line."""

    passed: bool
    reason: str


def judge(policy: Policy, outcomes: Sequence[Outcome]) -> Verdict:
    """A wave passes while the share of its deployments that did not succeed is within the policy."""
    missed = Counter(outcome for outcome in outcomes if outcome != "succeeded")
    if missed.total() <= policy.max_unsuccessful * len(outcomes):
        return Verdict(True, f"{len(outcomes) - missed.total()} of {len(outcomes)} succeeded")
    counts = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in sorted(missed.items()))
    return Verdict(False, f"{counts} of {len(outcomes)}, {policy.max_unsuccessful:.0%} allowed")
