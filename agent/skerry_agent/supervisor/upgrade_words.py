"""What is said of the agents of a device, by their record: the report for twin and status, and the issue. Pure."""

from typing import get_args

from msgspec.structs import replace

from skerry_agent.launch.table import Record
from skerry_agent.wire.policies import Outcome
from skerry_agent.wire.upgrades import UpgradeReport

STANDING = frozenset({"agent_keeps_dying", "agent_gone"})
"""Reasons for which the device does not run the agent that it once committed: an issue until the next upgrade."""
ENDS = {"rolled_back": "was rolled back", "rejected": "was rejected", "failed": "failed", "timed_out": "timed out"}
"""How an upgrade can end badly, in words."""


def issue_of(record: Record, wanted: str) -> str | None:
    """What is wrong with the agent on this device; `wanted` is the deployment that the host wants now."""
    ended = record.ended
    if ended is None or ended.outcome not in ENDS:
        return None
    if ended.deployment != wanted and ended.reason not in STANDING:
        return None
    return f"{ended.reason}: agent: {ended.release} {ENDS[ended.outcome]}: {ended.detail}"


def report_of(record: Record, own: str, now: UpgradeReport | None = None) -> UpgradeReport | None:
    """What a record says, with what is under way before what has ended."""
    agents = [agent for agent in (record.current, record.trial and record.trial.agent) if agent]
    runs = next((agent.release for agent in agents if agent.folder == own), "")
    if now is not None:
        return replace(now, runs=runs)
    ended = record.ended
    if ended is None:
        return UpgradeReport(runs=runs) if runs else None
    outcome = ended.outcome if ended.outcome in get_args(Outcome) else None  # an agent of another version wrote it
    return UpgradeReport(
        ended.deployment,
        ended.release,
        outcome=outcome,  # type: ignore[arg-type]
        reason=ended.reason,
        detail=ended.detail,
        runs=runs,
    )
