"""The host's orders: desired states and commands, verified in an updater process before they take effect.

What waits is verified together, in one process at a time; what no trusted key can have signed is refused without one.
Kept on disk, in two copies each: the newest accepted desired state, so that a device works without a network and no
damage makes it accept an older one; and the sequence of the newest command, written before the command runs, with the
latest answers. Every order that is refused, whatever for, is in `refused` with its code (`wire.refusals`) at once, but
of a flood that nobody has signed only some; `issue` says so, too, and for a command that could be read its answer.
"""

import contextlib
import errno
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from skerry_agent import log
from skerry_agent.ports.clock import PLAUSIBLE_WALL_S
from skerry_agent.ports.interfaces import Clock, Processes
from skerry_agent.ports.jobs import Answer, Payload, Refusal, VerifyMessage
from skerry_agent.state.disk import DiskError, read_record, write_record
from skerry_agent.state.identity import read_incarnation
from skerry_agent.supervisor.refused_orders import RefusedOrders
from skerry_agent.supervisor.verification_queue import VerificationQueue
from skerry_agent.wire import codec, envelope
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.plain_text import cleaned
from skerry_agent.wire.refusals import MAX_ORDER_BYTES, OrderKind
from skerry_agent.wire.twin import Command, CommandResult, Desired

T = TypeVar("T")
_NOT_HERE = (
    "is for another state folder than this device's: it was set up anew, or never enrolled with the order's host"
)
REMEMBERED_COMMANDS = 64
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
KNOWN_COMMANDS = frozenset({"rollback", "watch"})


class Accepted(Struct, frozen=True):
    """The newest desired state: the message as it came, and what it says."""

    raw: bytes
    desired: Desired


class CommandLog(Struct, frozen=True):
    """Commands that were carried out, newest last; `sequence` is that of the newest that was begun."""

    results: tuple[CommandResult, ...] = ()
    sequence: int = 0


class Orders:
    """Receives the host's orders: has them verified, keeps the newest, and applies or runs each of them once.

    `changed` is called when an order was refused, so that the host hears of it.
    """

    def __init__(
        self,
        device: str,
        folder: Path,
        processes: Processes,
        clock: Clock,
        changed: Callable[[], None] = lambda: None,
        first_look: Callable[[VerifyMessage], Refusal | None] = lambda _job: None,
    ) -> None:
        self.issue: str | None = None
        self._first_look = first_look
        self._arrivals, self._accepted_arrival = 0, 0
        self.enrolled_as: str | None = None
        """The state folder that this device has enrolled with; None while it has no identity."""
        self.refused = RefusedOrders(clock, changed)
        self.device, self._clock = device, clock
        self._folder_name = read_incarnation(folder)
        self._accepted_files = (folder / "desired.json", folder / "desired.second.json")
        self._answered_files = (folder / "commands.json", folder / "commands.second.json")
        self._accepted = self._read_copies(self._accepted_files, Accepted, _newest)
        self._answered = self._read_copies(self._answered_files, CommandLog, _merged) or CommandLog()
        self._verification = VerificationQueue(processes, clock)

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
        if not raw or self._is_accepted(raw) or self._is_too_large("desired", raw):
            return

        self._arrivals += 1
        arrival = self._arrivals

        def answered(answer: Answer) -> None:
            if self._is_accepted(raw):  # it came twice, before the first had been verified
                return
            desired = self._parsed(raw, answer, Desired)
            if desired is not None and arrival < self._accepted_arrival and desired.generation < self.generation:
                return  # a newer one came while it waited
            if desired is not None and self._acceptable(raw, desired) and self._keep(Accepted(raw, desired)):
                self.issue, self._accepted_arrival = None, arrival
                self.refused.forget("desired")
                deployments = ",".join(each.deployment for each in desired.assignments) or "none"
                log.info("a desired state was accepted", generation=desired.generation, deployments=deployments)
                apply(desired)

        self._verify(VerifyMessage(raw, envelope.DESIRED, "director"), answered)

    def _verify(self, job: VerifyMessage, answered: Callable[[Answer], None]) -> None:
        refusal = self._first_look(job)
        if refusal is None:
            self._verification.take(job, answered)
        else:
            answered(refusal)

    def _is_accepted(self, raw: bytes) -> bool:
        return self._accepted is not None and self._accepted.raw == raw

    def command_message(
        self, raw: bytes, run: Callable[[Command], tuple[bool, str]], reply: Callable[[CommandResult], None]
    ) -> None:
        """Take a command; it is run once, and the same answer is given whenever it comes again.

        One that has expired, or is older than one that was run, is answered with no.
        """
        if not raw or self._is_too_large("command", raw):
            return

        def answered(answer: Answer) -> None:
            command = self._parsed(raw, answer, Command)
            if command is None:
                return
            if command.device != self.device:
                self._refuse("command", raw, "wrong_device", f"a command for device {command.device} was ignored")
                return
            reply(self._result_of(command, run))

        self._verify(VerifyMessage(raw, envelope.COMMAND, "director"), answered)

    def _refuse(self, kind: OrderKind, raw: bytes, code: str, detail: str, *, signed: bool = True) -> None:
        if self.refused.note(kind, raw, code, detail, signed=signed):
            self.issue = cleaned(detail)

    def _is_too_large(self, kind: OrderKind, raw: bytes) -> bool:
        """Refused unread: neither an updater nor its pipe shall have to carry it."""
        if len(raw) <= MAX_ORDER_BYTES:
            return False
        detail = f"a {kind} message of {len(raw)} bytes was refused: at most {MAX_ORDER_BYTES} are read"
        self._refuse(kind, raw, "oversize_order", detail, signed=False)
        return True

    def _parsed(self, raw: bytes, answer: Answer, kind: type[T]) -> T | None:
        name: OrderKind = "desired" if kind is Desired else "command"
        match answer:
            case Payload():
                try:
                    return codec.decode(answer.payload, kind)
                except WireError as error:
                    self._refuse(name, raw, error.code, str(error))
            case Refusal():
                self._refuse(name, raw, answer.reason, f"{name} refused: {answer.detail}", signed=False)
        return None

    def _acceptable(self, raw: bytes, desired: Desired) -> bool:
        refusal = self._unacceptable(desired)
        if refusal is not None:
            self._refuse("desired", raw, *refusal)
        return refusal is None

    def _unacceptable(self, desired: Desired) -> tuple[str, str] | None:
        """(code, detail) of why a well signed one is not accepted."""
        now, generation = self._clock.wall(), desired.generation
        if desired.device != self.device:
            return "wrong_device", f"a desired state for device {desired.device} was ignored"
        if self._is_for_another_folder(desired.incarnation):
            return "wrong_incarnation", f"desired generation {generation} {_NOT_HERE}"
        if generation <= self.generation:
            return "stale_generation", f"desired generation {generation} was ignored: {self.generation} is accepted"
        if desired.expires is not None and PLAUSIBLE_WALL_S < now > desired.expires:
            when = f"this device's clock says {_date(now)}"
            return "expired_order", f"desired generation {generation} has expired: {when}"
        return None

    def _is_for_another_folder(self, incarnation: str | None) -> bool:
        """A device that has enrolled takes only what names the state folder that it has enrolled with.

        Else an order of before it was set up anew could be sent to it again: it remembers none of them.
        """
        return incarnation != self.enrolled_as and not (incarnation == self._folder_name and self.enrolled_as is None)

    def _keep(self, accepted: Accepted) -> bool:
        """What cannot be kept is not accepted: after a restart nothing would know it."""
        try:
            for path in self._accepted_files:
                write_record(path, accepted)
        except OSError as error:
            detail = f"desired generation {accepted.desired.generation} could not be saved: {error.strerror}"
            self._refuse("desired", accepted.raw, "disk_full" if error.errno in NO_ROOM else "disk", detail)
            return False
        self._accepted = accepted
        return True

    def _result_of(self, command: Command, run: Callable[[Command], tuple[bool, str]]) -> CommandResult:
        for result in self._answered.results:
            if result.id == command.id:
                return result
        refusal = self._refusal_of(command)
        if refusal is not None:
            code, detail = refusal
            self.issue = f"command {command.id} was refused: {detail}"
            log.warning("a command was refused", reason=code, detail=detail, command=command.id, kind=command.kind)
            return CommandResult(self.device, command.id, ok=False, detail=detail, code=code)
        begun = command.sequence is not None and command.sequence == self._answered.sequence
        if command.sequence is not None:
            self._remember(replace(self._answered, sequence=command.sequence), command)
        ok, detail = run(command)
        if begun and not ok:  # nothing is left to do: the host must not take for failed what was done before a crash
            ok, detail = True, f"it was begun before a restart, and now {detail}"
        log.say("info" if ok else "warning", "a command was run", command=command.id, kind=command.kind, detail=detail)
        result = CommandResult(self.device, command.id, ok, detail, "" if ok else "cannot_be_done")
        results = (*self._answered.results, result)[-REMEMBERED_COMMANDS:]
        self._remember(replace(self._answered, results=results), command)
        return result

    def _refusal_of(self, command: Command) -> tuple[str, str] | None:
        """(code, detail) of why it is not run.

        The newest, if it was begun and never answered, is: a crash may have come between.
        """
        newest = self._answered.sequence
        if self._is_for_another_folder(command.incarnation):
            return "wrong_incarnation", f"it {_NOT_HERE}"
        if command.sequence is not None and command.sequence < newest:
            detail = f"it is older (sequence {command.sequence}) than a command that was run here ({newest})"
            return "older_command", detail
        if command.expires is not None and PLAUSIBLE_WALL_S < self._clock.wall() > command.expires:
            return "expired_order", f"it has expired by this device's clock, which says {_date(self._clock.wall())}"
        if command.kind not in KNOWN_COMMANDS:
            return "unknown_command", f"this agent does not know the command {command.kind[:40]!r}"
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
