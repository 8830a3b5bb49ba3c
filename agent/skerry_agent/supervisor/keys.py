"""Watches trust.json for the supervisor: detects damage, and keeps a copy once its keys are known to work.

They are known to work when an updater has verified a message with them, so unusable keys are never copied. What cannot
be signed by any of them is seen here, without a process; whether a message really is, only an updater can say.
"""

import contextlib
from collections.abc import Callable

from skerry_agent.config import AgentConfig
from skerry_agent.ports.interfaces import AcceleratorLook, Processes, Runner, RunnerListener
from skerry_agent.ports.jobs import Answer, Payload, Refusal, UpdaterJob, Verified, VerifyMessage
from skerry_agent.ports.runner_protocol import Job
from skerry_agent.state import backup_copies
from skerry_agent.trust.key_file import TrustError, check_form, key_id, parse_keys
from skerry_agent.wire import codec
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.errors import WireError


class WatchedKeys:
    """The `Processes` port, which also sees what updaters make of the keys."""

    def __init__(self, config: AgentConfig, processes: Processes) -> None:
        self._config, self._processes = config, processes
        self._kept = False
        self._ids: dict[str, frozenset[str]] = {}
        self._as_of: tuple[int, ...] | None = None
        self.issue = self._found()

    def _found(self) -> str | None:
        """What is wrong with trust.json; reads it, or its copy."""
        self._as_of, self._ids = self._stamp(), {}
        try:
            copy = backup_copies.find(self._config.trust_file, [self._config.state_dir])
            keys, issue = backup_copies.choose(self._config.trust_file, copy, parse_keys)
        except (OSError, TrustError) as error:
            return f"{self._config.trust_file} cannot be used: {error}"
        self._ids = {role: frozenset(map(key_id, raw)) for role, raw in keys.items()}
        return issue

    def _stamp(self) -> tuple[int, ...] | None:
        """Changes when somebody puts another file there."""
        with contextlib.suppress(OSError):
            found = self._config.trust_file.stat()
            return found.st_ino, found.st_mtime_ns, found.st_size
        return None

    def first_look(self, job: VerifyMessage) -> Refusal | None:
        """Why a message needs no verification: it is none, or names no key that is trusted here. None: it may be good.

        Where no keys can be read an updater says so.
        """
        if self._as_of != self._stamp():
            self.issue = self._found()
        ids = self._ids.get(job.role, frozenset()) if self._ids else None
        try:
            check_form(codec.decode(job.raw, Envelope), job.payload_type, job.role, ids)
        except (TrustError, WireError) as error:
            return Refusal("rejected", error.code, str(error))
        return None

    def start_runner(self, job: Job, listener: RunnerListener) -> Runner:
        """Start a runner."""
        return self._processes.start_runner(job, listener)

    def run_updater(self, job: UpdaterJob, answer: Callable[[Answer], None]) -> Callable[[], None]:
        """Run one updater; any answer but a refusal shows that the keys work."""

        def answered(result: Answer) -> None:
            if _is_refusal(result):
                self.issue = self._found()
            else:
                self._keep()
            answer(result)

        return self._processes.run_updater(job, answered)

    def look_at_accelerator(self, answer: Callable[[AcceleratorLook], None]) -> None:
        """Look at it."""
        self._processes.look_at_accelerator(answer)

    def _keep(self) -> None:
        if not self._kept:
            with contextlib.suppress(OSError):  # a full disk: the next answer tries again
                backup_copies.keep(self._config.trust_file, self._config.state_dir, parse_keys)
                self._kept = True


def _is_refusal(answer: Answer) -> bool:
    """Of several messages: whether all of them were refused."""
    several = answer.answers if isinstance(answer, Verified) else ()
    return isinstance(answer, Refusal) or (bool(several) and not any(isinstance(each, Payload) for each in several))
