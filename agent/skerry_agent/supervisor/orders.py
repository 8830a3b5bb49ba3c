"""The host's orders: desired states and commands, verified in an updater process before they take effect.

One message is verified at a time. Kept on disk, in two copies each: the newest accepted desired state, so that a device
works without a network and no damage makes it accept an older one; and the sequence of the newest command, written
before the command runs, with the latest answers. Orders that are older than the accepted one, expired or meant for
another device are ignored; `issue` says so, and for a command the answer to it.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

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


class CommandLog(Struct, frozen=True):
    """Commands that were carried out, newest last; `sequence` is that of the newest that was begun."""

    results: tuple[CommandResult, ...] = ()
    sequence: int = 0


class _VerificationQueue:
    """Has messages verified one at a time, so that a flood of them does not start a flood of processes.

    Only the newest desired state and the newest `WAITING_COMMANDS` commands wait.
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
    """Receives the host's orders: has them verified, keeps the newest, and applies or runs each of them once."""

    def __init__(self, device: str, folder: Path, processes: Processes, clock: Clock) -> None:
        self.issue: str | None = None
        self._device, self._clock = device, clock
        self._accepted_files = (folder / "desired.json", folder / "desired.second.json")
        self._answered_files = (folder / "commands.json", folder / "commands.second.json")
        self._accepted = self._read_copies(self._accepted_files, Accepted, _newest)
        self._answered = self._read_copies(self._answered_files, CommandLog, _merged) or CommandLog()
        self._verification = _VerificationQueue(processes, clock)

    def _read(self, path: Path, kind: type[T]) -> T | None:
        try:
            return read_record(path, kind)
        except (DiskError, WireError) as error:  # the host sends its newest desired state on every connect
            self.issue = str(error)
            return None

    def _read_copies(self, files: Iterable[Path], kind: type[T], choose: Callable[[list[T]], T]) -> T | None:
        """What two copies say. One that is damaged, gone or says something else is written again."""
        copies = [(path, self._read(path, kind)) for path in files]
        whole = [copy for _, copy in copies if copy is not None]
        chosen = choose(whole) if whole else None
        for path, copy in copies:
            if chosen is not None and copy != chosen:
                with contextlib.suppress(OSError):  # the other copy is there; the next start tries again
                    write_record(path, chosen)
        return chosen

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

        self._verification.take(VerifyMessage(raw, envelope.DESIRED, "director"), answered)

    def _is_accepted(self, raw: bytes) -> bool:
        return self._accepted is not None and self._accepted.raw == raw

    def command_message(
        self, raw: bytes, run: Callable[[Command], tuple[bool, str]], reply: Callable[[CommandResult], None]
    ) -> None:
        """Take a command; it is run once, and the same answer is given whenever it comes again.

        One that has expired, or is older than one that was run, is answered with no.
        """
        if not raw:
            return

        def answered(answer: Answer) -> None:
            command = self._parsed(answer, Command)
            if command is not None and command.device == self._device:
                reply(self._result_of(command, run))

        self._verification.take(VerifyMessage(raw, envelope.COMMAND, "director"), answered)

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
            self.issue = f"a desired state for device {desired.device} was ignored"
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
            self.issue = f"desired generation {accepted.desired.generation} could not be saved: {error.strerror}"
            return False
        self._accepted = accepted
        return True

    def _result_of(self, command: Command, run: Callable[[Command], tuple[bool, str]]) -> CommandResult:
        for result in self._answered.results:
            if result.id == command.id:
                return result
        refusal = self._refusal_of(command)
        if refusal is not None:
            self.issue = f"command {command.id} was refused: {refusal}"
            return CommandResult(self._device, command.id, ok=False, detail=refusal)
        begun = command.sequence is not None and command.sequence == self._answered.sequence
        if command.sequence is not None:
            self._remember(replace(self._answered, sequence=command.sequence), command)
        ok, detail = run(command)
        if begun and not ok:  # nothing is left to do: the host must not take for failed what was done before a crash
            ok, detail = True, f"it was begun before a restart, and now {detail}"
        result = CommandResult(self._device, command.id, ok, detail)
        results = (*self._answered.results, result)[-REMEMBERED_COMMANDS:]
        self._remember(replace(self._answered, results=results), command)
        return result

    def _refusal_of(self, command: Command) -> str | None:
        """Why it is not run. The newest, if it was begun and never answered, is: a crash may have come between."""
        newest = self._answered.sequence
        if command.sequence is not None and command.sequence < newest:
            return f"it is older (sequence {command.sequence}) than a command that was run here ({newest})"
        if command.expires is not None and PLAUSIBLE_WALL_S < self._clock.wall() > command.expires:
            return f"it has expired by this device's clock, which says {_date(self._clock.wall())}"
        return None

    def _remember(self, answered: CommandLog, command: Command) -> None:
        """What cannot be kept holds no command up: it may take room to give room back."""
        self._answered = answered
        try:
            for path in self._answered_files:
                write_record(path, answered)
        except OSError as error:
            self.issue = f"command {command.id} could not be saved: {error.strerror}"


def _newest(copies: list[Accepted]) -> Accepted:
    return max(copies, key=lambda copy: copy.desired.generation)


def _merged(copies: list[CommandLog]) -> CommandLog:
    """Agents before sequences write one copy only, and no sequence: what they answered must not be run again."""
    copies = sorted(copies, key=lambda copy: (copy.sequence, len(copy.results)))
    results = {result.id: result for copy in copies for result in copy.results}
    return CommandLog(tuple(results.values())[-REMEMBERED_COMMANDS:], copies[-1].sequence)


def _date(wall: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(wall))
