"""Reasons of deployments that lie outside the release: device and host must agree on whom they blame. Pure data.

source_failed      an input source cannot be used (runners of earlier packages; now an issue, which ends nothing)
not_started        the kernel started no process: memory, processes or files are exhausted
killed             another process, or a person, ended the runner with a signal
stopped            the runner was stopped by a signal (SIGSTOP) or a debugger, and said nothing
board_busy         it was not ready in several times its time, in which it hardly got the processor
power_supply       it failed while the supply voltage was too low
accelerator_hung   the runner is stuck in the kernel with the accelerator, and cannot be killed
"""

EXTERNAL_CAUSES = frozenset(
    {"source_failed", "not_started", "killed", "stopped", "board_busy", "power_supply", "accelerator_hung"}
)
"""None of these is taken for a fault of the release: a gate counts it neither for nor against it."""
