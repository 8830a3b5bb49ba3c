"""Has signed messages verified, all that wait in one process, one process at a time: no flood holds up what is real.

To start the process costs a hundred times a signature: so whoever sends many messages that look right makes each batch
larger, and what was really signed waits for the one under way and for its own. Does not look at what messages say. Of
an answer it looks only at whether there was none, because the board was short of memory or processes: then it asks
again, a few times, before the orders are refused for it.
"""

from collections.abc import Callable, Sequence
from itertools import count

from msgspec import Struct

from skerry_agent.ports.interfaces import Clock, Processes
from skerry_agent.ports.jobs import Answer, Payload, Refusal, Verified, VerifyMessage, VerifyMessages
from skerry_agent.wire import envelope

MOST_WAITING_BYTES = 256 * 1024
"""Of which every real order takes few thousand; the largest go first, so it takes a flood of small ones to fill it."""

VERIFY_S = 120.0
PAUSES_S = (1.0, 5.0, 20.0)
"""Before each further attempt to verify messages for which there was no updater, or it died."""
NO_UPDATER = frozenset({"updater_not_started", "updater_died"})

FRUITLESS_PAUSES_S = (0.0, 0.0, 0.1, 0.25, 0.5)
"""After so many batches in a row in which nobody had signed anything: the model in service needs the processor, too."""

_Answered = Callable[[Answer], None]


class _Asked(Struct, frozen=True):
    """A message that waits, and the how manieth that came it is."""

    number: int
    job: VerifyMessage
    answered: _Answered


class Waiting:
    """Messages that wait, each once, bounded in bytes: the largest goes first, of those the one that came last.

    So what waits is never put out by what comes later, unless that is smaller.
    """

    def __init__(self, most_bytes: int = MOST_WAITING_BYTES) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._asked: dict[tuple[str, bytes], _Asked] = {}
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._asked)

    def put(self, job: VerifyMessage, answered: _Answered) -> None:
        """One more, unless it is there already."""
        self.put_back([_Asked(next(self._numbers), job, answered)])

    def put_back(self, asked: Sequence[_Asked]) -> None:
        """Those that were taken and got no answer, in their former places."""
        for each in asked:
            key = (each.job.payload_type, each.job.raw)
            if key not in self._asked:
                self._asked[key] = each
                self._bytes += len(each.job.raw)
        while self._bytes > self._most_bytes:
            key = max(self._asked, key=lambda known: (len(known[1]), self._asked[known].number))
            del self._asked[key]
            self._bytes -= len(key[1])

    def take_all(self) -> list[_Asked]:
        """All: desired states before commands, of those the newest first, so that no older one is begun for nothing."""
        asked, self._asked, self._bytes = list(self._asked.values()), {}, 0
        desired = [each for each in asked if each.job.payload_type == envelope.DESIRED]
        others = [each for each in asked if each.job.payload_type != envelope.DESIRED]
        newest_first = sorted(desired, key=lambda each: -each.number)
        return [*newest_first, *sorted(others, key=lambda each: each.number)]


class VerificationQueue:
    """What comes while a batch is verified waits for the next one."""

    def __init__(self, processes: Processes, clock: Clock) -> None:
        self._processes, self._clock = processes, clock
        self._busy = False
        self._fruitless = 0
        self._waiting = Waiting()

    def take(self, job: VerifyMessage, answered: _Answered) -> None:
        """Have a message verified as soon as none before it is; `answered` is called once, in time.

        It is not called for a message for which there is no room, or that waits already.
        """
        self._waiting.put(job, answered)
        self._next()

    def _next(self, attempts: int = 0) -> None:
        if not self._busy and len(self._waiting):
            self._verify(self._waiting.take_all(), attempts)

    def _verify(self, batch: list[_Asked], attempts: int) -> None:
        self._busy = True

        def done(answer: Answer) -> None:
            limit.cancel()
            if isinstance(answer, Refusal) and answer.reason in NO_UPDATER and attempts < len(PAUSES_S):
                self._waiting.put_back(batch)
                self._clock.after(PAUSES_S[attempts], lambda: self._go_on(attempts + 1))
                return
            answers = _answers(answer, len(batch))
            self._fruitless = 0 if any(isinstance(each, Payload) for each in answers) else self._fruitless + 1
            for asked, each in zip(batch, answers, strict=True):
                asked.answered(each)
            pause_s = FRUITLESS_PAUSES_S[min(self._fruitless, len(FRUITLESS_PAUSES_S) - 1)]
            if pause_s:
                self._clock.after(pause_s, self._go_on)
            else:
                self._go_on()

        def give_up() -> None:
            cancel()
            done(Refusal("failed", "no_answer", f"it could not be verified within {VERIFY_S:.0f} s"))

        limit = self._clock.after(VERIFY_S, give_up)
        cancel = self._processes.run_updater(_job([asked.job for asked in batch]), done)

    def _go_on(self, attempts: int = 0) -> None:
        self._busy = False
        self._next(attempts)


def _job(messages: list[VerifyMessage]) -> VerifyMessage | VerifyMessages:
    return messages[0] if len(messages) == 1 else VerifyMessages(tuple(messages))


def _answers(answer: Answer, number: int) -> Sequence[Answer]:
    """One for each message; a refusal of the job as a whole is that of each."""
    if isinstance(answer, Verified) and len(answer.answers) == number:
        return answer.answers
    return [answer] * number
