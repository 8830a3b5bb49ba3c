"""Runs another program for a limited time and takes its output. Never waits for one that survives being killed.

`subprocess.run` does: after its timeout it kills the child and waits for it, which is without end for a process that is
stuck in the kernel, as drivers of accelerators make them.
"""

import subprocess
from collections.abc import Callable, Mapping


def run_bounded(
    command: list[str],
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> "subprocess.CompletedProcess[str]":
    """What it printed, and how it ended. Raises `OSError`, and `subprocess.TimeoutExpired` once it has been killed.

    `before` is called in the child, before the program.
    """
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
        preexec_fn=before,  # noqa: PLW1509 - who passes one has one thread
    )
    try:
        output, errors = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        child.kill()
        raise
    return subprocess.CompletedProcess(command, child.returncode, output, errors)
