"""Has signed messages verified one at a time, so that a flood of them does not start a flood of processes.

Does not look at what they say. Of an answer it looks only at whether there was none, because the board was short of
memory or processes: then it asks again, a few times, before the order is refused for it.
"""

from collections import deque
from collections.abc import Callable

from skerry_agent.ports.interfaces import Clock, Processes
from skerry_agent.ports.jobs import Answer, Refusal, VerifyMessage
from skerry_agent.wire import envelope

WAITING_COMMANDS = 16
VERIFY_S = 120.0
PAUSES_S = (1.0, 5.0, 20.0)
"""Before each further attempt to verify a message for which there was no updater, or it died."""
NO_UPDATER = frozenset({"updater_not_started", "updater_died"})

_Asked = tuple[VerifyMessage, Callable[[Answer], None]]


class VerificationQueue:
    """Only the newest desired state and the newest `WAITING_COMMANDS` commands wait."""

    def __init__(self, processes: Processes, clock: Clock) -> None:
        self._processes, self._clock = processes, clock
        self._busy = False
        self._desired: _Asked | None = None
        self._commands: deque[_Asked] = deque(maxlen=WAITING_COMMANDS)

    def take(self, job: VerifyMessage, answered: Callable[[Answer], None]) -> None:
        """Have a message verified, as soon as none before it is; `answered` is called once, in time."""
        if job.payload_type == envelope.DESIRED:
            self._desired = (job, answered)
        else:
            self._commands.append((job, answered))
        self._next()

    def _next(self) -> None:
        if self._busy or not (self._desired or self._commands):
            return
        if self._desired is not None:
            asked, self._desired = self._desired, None
        else:
            asked = self._commands.popleft()
        self._verify(*asked)

    def _verify(self, job: VerifyMessage, answered: Callable[[Answer], None], attempts: int = 0) -> None:
        self._busy = True

        def done(answer: Answer) -> None:
            limit.cancel()
            if isinstance(answer, Refusal) and answer.reason in NO_UPDATER and attempts < len(PAUSES_S):
                self._clock.after(PAUSES_S[attempts], lambda: self._again(job, answered, attempts + 1))
                return
            self._busy = False
            answered(answer)
            self._next()

        def give_up() -> None:
            cancel()
            done(Refusal("failed", "no_answer", f"it could not be verified within {VERIFY_S:.0f} s"))

        limit = self._clock.after(VERIFY_S, give_up)
        cancel = self._processes.run_updater(job, done)

    def _again(self, job: VerifyMessage, answered: Callable[[Answer], None], attempts: int) -> None:
        """Verify it once more, unless a newer desired state has come meanwhile."""
        if job.payload_type == envelope.DESIRED and self._desired is not None:
            self._busy = False
            self._next()
        else:
            self._verify(job, answered, attempts)
