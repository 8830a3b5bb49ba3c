"""Has signed messages verified one at a time, so that a flood of them does not start a flood of processes.

Does not look at what they say, nor at the answer.
"""

from collections import deque
from collections.abc import Callable

from skerry_agent.ports.interfaces import Clock, Processes
from skerry_agent.ports.jobs import Answer, Refusal, VerifyMessage
from skerry_agent.wire import envelope

WAITING_COMMANDS = 16
VERIFY_S = 120.0

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

    def _verify(self, job: VerifyMessage, answered: Callable[[Answer], None]) -> None:
        self._busy = True

        def done(answer: Answer) -> None:
            limit.cancel()
            self._busy = False
            answered(answer)
            self._next()

        def give_up() -> None:
            cancel()
            done(Refusal("failed", "no_answer", f"it could not be verified within {VERIFY_S:.0f} s"))

        limit = self._clock.after(VERIFY_S, give_up)
        cancel = self._processes.run_updater(job, done)
