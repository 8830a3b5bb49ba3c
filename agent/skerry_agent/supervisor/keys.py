"""Watches trust.json for the supervisor: detects damage, and keeps a copy once its keys are known to work.

They are known to work when an updater has verified a message with them, so unusable keys are never copied.
"""

import contextlib
from collections.abc import Callable

from skerry_agent.config import AgentConfig
from skerry_agent.ports.interfaces import Processes, Runner, RunnerListener
from skerry_agent.ports.jobs import Answer, Refusal, UpdaterJob
from skerry_agent.ports.runner_protocol import Job
from skerry_agent.state import backup_copies
from skerry_agent.trust.key_file import TrustError, parse_keys


class WatchedKeys:
    """The `Processes` port, which also sees what updaters make of the keys."""

    def __init__(self, config: AgentConfig, processes: Processes) -> None:
        self._config, self._processes = config, processes
        self._kept = False
        self.issue = self._found()

    def _found(self) -> str | None:
        """What is wrong with trust.json."""
        try:
            copy = backup_copies.find(self._config.trust_file, [self._config.state_dir])
            return backup_copies.choose(self._config.trust_file, copy, parse_keys)[1]
        except (OSError, TrustError) as error:
            return f"{self._config.trust_file} cannot be used: {error}"

    def start_runner(self, job: Job, listener: RunnerListener) -> Runner:
        """Start a runner."""
        return self._processes.start_runner(job, listener)

    def run_updater(self, job: UpdaterJob, answer: Callable[[Answer], None]) -> Callable[[], None]:
        """Run one updater; any answer but a refusal shows that the keys work."""

        def answered(result: Answer) -> None:
            if isinstance(result, Refusal):
                self.issue = self._found()
            else:
                self._keep()
            answer(result)

        return self._processes.run_updater(job, answered)

    def _keep(self) -> None:
        if not self._kept:
            with contextlib.suppress(OSError):  # a full disk: the next answer tries again
                backup_copies.keep(self._config.trust_file, self._config.state_dir, parse_keys)
                self._kept = True
