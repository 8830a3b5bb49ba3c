"""What follows from a failure whose reason lies outside the release (`wire.causes`). Pure data.

A candidate is tried again, from its start, with pauses, within the persisted budget of attempts of its deployment; the
bundle before serves meanwhile. When the budget is spent the deployment ends with that reason. Not so for a weak power
supply and a hung accelerator, which end it at once: neither is over in seconds.

The current bundle is started again for ever, and does not lose its place: no other one would fare better. Except for
`oom_killed` (the kernel ended the runner for want of memory), which counts as a crash, and after ten failures for
`power_supply`: the one before may need less.
`agent_restarts` (the agent ended three times in one stage) is told apart too, and ends a deployment at once: a release
that takes the board down with it must not do so for ever.
"""

from skerry_agent.wire.causes import EXTERNAL_CAUSES

POWER_SUPPLY = "power_supply"
LASTING = frozenset({POWER_SUPPLY, "accelerator_hung"})

TRIED_AGAIN = (EXTERNAL_CAUSES - LASTING) | {"oom_killed"}
"""Reasons for which a candidate is tried again."""
