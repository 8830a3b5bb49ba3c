"""What the host orders: desired states and commands, verified in an updater process before anything believes them.

One message is verified at a time. Keeps the newest accepted desired state on disk, twice, so that a device knows its
orders without a network and no damage makes it take older ones; and the ids of commands already answered. Ignores what
is older than accepted, of another device, or expired; says so in `issue`.
"""

import contextlib
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from skerry_agent.ports.clock import PLAUSIBLE_WALL_S
from skerry_agent.ports.interfaces import Clock, Processes
from skerry_agent.ports.jobs import Answer, Payload, Refusal, VerifyMessage
from skerry_agent.state.disk import DiskError, read_record, write_record
from skerry_agent.wire import codec, envelope
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.twin import Command, CommandResult, Desired

T = TypeVar("T")
_Asked = tuple[VerifyMessage, Callable[[Answer], None]]
REMEMBERED_COMMANDS = 64
WAITING_COMMANDS = 16
VERIFY_S = 120.0


class Accepted(Struct, frozen=True):
    """The newest desired state: the message as it came, and what it says."""

    raw: bytes
    desired: Desired


class Answered(Struct, frozen=True):
    """Commands that were carried out, newest last."""

    results: tuple[CommandResult, ...] = ()


class _Desk:
    """Has messages verified one after the other, so that no flood of them starts a flood of processes.

    Of desired states only the newest waits; of commands the newest `WAITING_COMMANDS`.
    """

    def __init__(self, processes: Processes, clock: Clock) -> None:
        self._processes, self._clock = processes, clock
        self._busy = False
        self._desired: _Asked | None = None
        self._commands: deque[_Asked] = deque(maxlen=WAITING_COMMANDS)

    def take(self, job: VerifyMessage, answered: Callable[[Answer], None]) -> None:
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


class Orders:
    """The door through which orders of the host come in."""

    def __init__(self, device: str, folder: Path, processes: Processes, clock: Clock) -> None:
        self.issue: str | None = None
        self._device, self._clock = device, clock
        self._accepted_files = (folder / "desired.json", folder / "desired.second.json")
        self._answered_file = folder / "commands.json"
        self._accepted = self._read_accepted()
        self._answered = self._read(self._answered_file, Answered) or Answered()
        self._desk = _Desk(processes, clock)

    def _read(self, path: Path, kind: type[T]) -> T | None:
        try:
            return read_record(path, kind)
        except (DiskError, WireError) as error:  # the host sends its newest desired state on every connect
            self.issue = str(error)
            return None

    def _read_accepted(self) -> Accepted | None:
        """The newer of the two copies. One that is damaged or gone is written again."""
        copies = [self._read(path, Accepted) for path in self._accepted_files]
        newest = max(filter(None, copies), key=lambda copy: copy.desired.generation, default=None)
        for path, copy in zip(self._accepted_files, copies, strict=True):
            if newest is not None and copy != newest:
                with contextlib.suppress(OSError):  # the other copy is there; the next start tries again
                    write_record(path, newest)
        return newest

    @property
    def desired(self) -> Desired | None:
        """The newest accepted desired state."""
        return self._accepted.desired if self._accepted else None

    @property
    def generation(self) -> int:
        """Its generation, 0 before the first."""
        return self._accepted.desired.generation if self._accepted else 0

    def desired_message(self, raw: bytes, apply: Callable[[Desired], None]) -> None:
        """Take a desired state from the broker; `apply` is called when it is accepted."""
        if not raw or self._is_accepted(raw):
            return

        def answered(answer: Answer) -> None:
            if self._is_accepted(raw):  # it came twice, before the first had been verified
                return
            desired = self._parsed(answer, Desired)
            if desired is not None and self._acceptable(desired) and self._keep(Accepted(raw, desired)):
                self.issue = None
                apply(desired)

        self._desk.take(VerifyMessage(raw, envelope.DESIRED, "director"), answered)

    def _is_accepted(self, raw: bytes) -> bool:
        return self._accepted is not None and self._accepted.raw == raw

    def command_message(
        self, raw: bytes, run: Callable[[Command], tuple[bool, str]], reply: Callable[[CommandResult], None]
    ) -> None:
        """Take a command; it is run once, and the same answer is given whenever it comes again."""
        if not raw:
            return

        def answered(answer: Answer) -> None:
            command = self._parsed(answer, Command)
            if command is not None and command.device == self._device:
                reply(self._result_of(command, run))

        self._desk.take(VerifyMessage(raw, envelope.COMMAND, "director"), answered)

    def _parsed(self, answer: Answer, kind: type[T]) -> T | None:
        match answer:
            case Payload():
                try:
                    return codec.decode(answer.payload, kind)
                except WireError as error:
                    self.issue = str(error)
            case Refusal():
                self.issue = f"{kind.__name__.lower()} refused: {answer.detail}"
        return None

    def _acceptable(self, desired: Desired) -> bool:
        now = self._clock.wall()
        if desired.device != self._device:
            self.issue = f"a desired state of device {desired.device} was ignored"
        elif desired.generation <= self.generation:
            self.issue = f"desired generation {desired.generation} was ignored: {self.generation} is accepted"
        elif desired.expires is not None and PLAUSIBLE_WALL_S < now > desired.expires:
            self.issue = f"desired generation {desired.generation} has expired"
        else:
            return True
        return False

    def _keep(self, accepted: Accepted) -> bool:
        """What cannot be kept is not accepted: after a restart nothing would know it."""
        try:
            for path in self._accepted_files:
                write_record(path, accepted)
        except OSError as error:
            self.issue = f"desired generation {accepted.desired.generation} could not be kept: {error.strerror}"
            return False
        self._accepted = accepted
        return True

    def _result_of(self, command: Command, run: Callable[[Command], tuple[bool, str]]) -> CommandResult:
        for result in self._answered.results:
            if result.id == command.id:
                return result
        ok, detail = run(command)
        result = CommandResult(self._device, command.id, ok, detail)
        self._answered = Answered((*self._answered.results, result)[-REMEMBERED_COMMANDS:])
        try:
            write_record(self._answered_file, self._answered)
        except OSError as error:
            self.issue = f"the answer to command {command.id} could not be kept: {error.strerror}"
        return result
