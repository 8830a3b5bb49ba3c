"""Whose fault a failure is: reasons that lie outside a release. Pure data.

    source_failed   an input source cannot be used
    not_started     the kernel started no process: memory, processes or files are exhausted
    killed          another process, or a person, ended the runner with a signal
    stopped         the runner was stopped by a signal (SIGSTOP) or a debugger, and said nothing
    board_busy      it was not ready in several times its time, in which it hardly got the processor
    oom_killed      the kernel ended the runner for want of memory

A candidate is tried again after each of them, from its start, with pauses, within the persisted budget of attempts of
its deployment; the bundle before serves meanwhile. When the budget is spent the deployment ends with that reason.

The current bundle is started again for ever, and does not lose its place: no other one would fare better. Except for
`oom_killed`, which counts as a crash: the one before may need less memory. `agent_restarts` (the agent ended three
times in one stage) is told apart too, and ends a deployment at once: a release that takes the board down with it must
not do so for ever.
"""

EXTERNAL_CAUSES = frozenset({"source_failed", "not_started", "killed", "stopped", "board_busy"})
"""Reasons that are not the bundle's fault: no other bundle would serve either, so there is no rollback."""

TRIED_AGAIN = EXTERNAL_CAUSES | {"oom_killed"}
"""Reasons for which a candidate is tried again."""
