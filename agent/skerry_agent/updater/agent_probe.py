"""Runs a candidate for the agent in processes of its own: whether it can be imported here, and whether models agree.

A release may be whole and signed, and still die at import on this processor, or compute something else. Each question
has a time limit. What the agent that runs cannot do either is not held against the candidate.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from skerry_agent.launch.start import CHOICE, environment_of
from skerry_agent.ports.bounded import run_bounded
from skerry_agent.ports.jobs import InstallAgent, Refusal
from skerry_agent.ports.lifetime import die_with_parent
from skerry_agent.ports.probe import ILLEGAL_INSTRUCTION, processor
from skerry_agent.ports.signals import signal_name
from skerry_agent.updater.errors import RefusedError
from skerry_agent.wire import codec
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.plain_text import cleaned

IMPORT_S, SELFTEST_S = 60.0, 240.0
MOST_CHARS = 300
IMPORTS = """
import skerry_agent, skerry_agent.launch.start, skerry_agent.cli.run, skerry_agent.updater.perform
import skerry_agent.runner.process
print(skerry_agent.__file__); print(skerry_agent.__version__)
"""
"""What every agent that can be upgraded to has: it knows the record that it would be started by."""


class Check(Struct, frozen=True):
    """One check of `skerry-agent selftest --json`, of whichever version."""

    check: str
    ok: bool
    detail: str = ""


Run = Callable[[Path | None, list[str], float, str], "subprocess.CompletedProcess[str]"]
"""(folder, arguments, limit_s, what): runs Python with the agent in a folder; without one, that which runs."""


def probe(folder: Path, job: InstallAgent, run: Run | None = None) -> str:
    """The version that the agent in a folder says of itself, once it has passed. Raises `RefusedError`, `OSError`."""
    run = run or run_python
    version = _imported(run, folder, job.release)
    failed = _failed_models(run, folder, job)
    if failed:
        here = {check.check for check in _checks(run, None, job) or () if check.ok}
        own = [check for check in failed if check.check in here]
        if own:
            detail = "; ".join(f"{check.check}: {check.detail}" for check in own)
            raise _refused("agent_selftest", f"{job.release} does not serve what serves now: {detail}")
    return version


def _imported(run: Run, folder: Path, release: str) -> str:
    done = run(folder, ["-c", IMPORTS], IMPORT_S, f"{release} does not load")
    lines = done.stdout.split("\n")
    if done.returncode == 0 and Path(lines[0]).is_relative_to(folder):
        return lines[1].strip()
    if done.returncode == 0:
        raise _refused("agent_import", f"{release}: not its own code was loaded, but {lines[0]}")
    if done.returncode < 0:
        why = f": {ILLEGAL_INSTRUCTION}" if -done.returncode == signal.SIGILL else ""
        how = f"{signal_name(-done.returncode)} at import of {release} on {processor()}{why}"
        raise _refused("agent_crashed", how)
    raise _refused("agent_import", f"{release} cannot be imported: {_last(done.stderr)}")


def _failed_models(run: Run, folder: Path, job: InstallAgent) -> list[Check]:
    """What the candidate finds wrong with the models that serve. Raises `RefusedError` where it cannot say."""
    wanted = {f"model {name}" for name in job.models}
    if not wanted:
        return []
    checks = _checks(run, folder, job)
    if checks is None:
        raise _refused("agent_selftest", f"{job.release} cannot test the models: its selftest has ended with an error")
    said = {check.check for check in checks}
    lost = [Check(name, ok=False, detail="it does not know this model") for name in sorted(wanted - said)]
    return [check for check in checks if check.check in wanted and not check.ok] + lost


def _checks(run: Run, folder: Path | None, job: InstallAgent) -> list[Check] | None:
    """What the selftest of an agent says, None where it says nothing; without a folder that of the agent that runs."""
    arguments = ["-m", "skerry_agent", "selftest", "--beside", "--json", "--config", job.config]
    try:
        done = run(folder, arguments, SELFTEST_S, "its selftest")
        return codec.decode(done.stdout, list[Check])
    except (WireError, RefusedError):
        return None


def run_python(
    folder: Path | None, arguments: list[str], limit_s: float, what: str
) -> "subprocess.CompletedProcess[str]":
    """Raises `RefusedError` where it takes too long, `OSError` where it cannot be started."""
    environment = (environment_of(folder) if folder is not None else dict(os.environ)) | {CHOICE: "base"}
    try:
        return run_bounded([sys.executable, "-P", *arguments], limit_s, environment, die_with_parent)
    except subprocess.TimeoutExpired:
        raise _refused("agent_hangs", f"{what} within {limit_s:.0f} s") from None


def _refused(reason: str, detail: str) -> RefusedError:
    return RefusedError(Refusal("failed", reason, cleaned(detail, MOST_CHARS)))


def _last(errors: str) -> str:
    return next((line for line in reversed(errors.splitlines()) if line.strip()), "it said nothing")
