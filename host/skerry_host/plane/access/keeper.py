"""Keeps a broker's access rules those of the registry: writes them, has them reloaded, tries them out, takes them back.

A change is in force when the canary has come through at every listener. Where it has not in operation, the files of
before are put back, because a broker that is started on rules that it cannot read would let nobody in; but they do not
stay where they let nobody in either, and not for another listener's sake: whoever keeps the canary out must not keep a
device from being revoked. The state says `not yet in force` meanwhile, and it is tried again. It is a file, which
`skerry broker status` shows.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from msgspec import Struct, json
from sqlalchemy.exc import OperationalError

from skerry_agent.wire import codec
from skerry_agent.wire.errors import SkerryError, WireError
from skerry_host.files import write_atomic
from skerry_host.plane.broker.canary import Door, Verdict
from skerry_host.plane.broker.rules import Rules

log = logging.getLogger(__name__)

LOOK_S = 0.3
"""How often the registry is asked for its version: with the rest, a revocation is in force within a second or two."""
AGAIN_S = 5.0
CONFIRM_S = 25.0
"""How often what is in force is tried out again: somebody else may have changed the broker."""


class Source(Protocol):
    """Where rules come from."""

    def version(self) -> int:
        """Another one whenever the rules may be others."""

    def rules(self, now: float) -> Rules:
        """As they are to be."""


class Target(Protocol):
    """What rules are for: files, and a way to have them read, which may take so long."""

    patience_s: float

    def content(self, rules: Rules) -> dict[str, bytes]:
        """The files of some rules."""

    def write(self, content: Mapping[str, bytes]) -> None:
        """Replace files, by name."""

    def written(self) -> dict[str, bytes]:
        """What was written last."""

    def reload(self, old_way: frozenset[str]) -> None:
        """Have what is written read; these devices still come without a certificate."""


class State(Struct, frozen=True):
    """What is known of a broker's rules: labels, and times in seconds since 1970; no `problem`: all is well."""

    wanted: str
    in_force: str = ""
    since: float = 0.0
    tried: float = 0.0
    problem: str = ""

    @property
    def holds(self) -> bool:
        """Whether the newest rules are in force."""
        return self.wanted == self.in_force and not self.problem


Try = Callable[[Door, str, float], Verdict]


class Keeper:
    """One broker's; `run` it in a thread, and `stop` it. Not for several threads otherwise."""

    def __init__(self, source: Source, target: Target, doors: Sequence[Door], attempt: Try, file: Path) -> None:
        self._source, self._target, self._doors, self._attempt = source, target, tuple(doors), attempt
        self._file = file
        self._stopping = threading.Event()
        self._version: int | None = None
        self._old_way: frozenset[str] = frozenset()
        self._due = 0.0
        self.state = read_state(file) or State("")

    def run(self) -> None:
        """Until `stop`; what fails for a reason outside of it is tried again."""
        while not self._stopping.is_set():
            try:
                self.look(time.time())
            except (SkerryError, OperationalError, OSError) as error:
                log.warning("access rules cannot be brought up to date, retrying: %s", str(error).splitlines()[0])
                self._stopping.wait(AGAIN_S)
            self._stopping.wait(LOOK_S)

    def stop(self) -> None:
        """Make `run` return."""
        self._stopping.set()

    def look(self, now: float) -> None:
        """Compare with the registry; bring into force what is new, and try out now and then what is not."""
        version = self._source.version()
        if version != self._version:
            self._bring(self._source.rules(now), now)
            self._version = version
        elif now >= self._due or self._due > now + CONFIRM_S:  # the clock was set back
            if self.state.holds:
                self._confirm(now)
            else:
                self._bring(self._source.rules(now), now)

    def _bring(self, rules: Rules, now: float) -> None:
        former, before = self._target.written(), self._old_way
        content = self._target.content(rules)
        self._put(content, rules.access.old_way)
        failed = self._try_out(rules.label)
        if failed and failed[0] is self._doors[0]:
            self._put(former, before)
            if failed[1] == "unreachable" and self._keeps_out():
                self._put(content, rules.access.old_way)
        self._note(rules.label, _problem(failed), now, rules.flaw)

    def _put(self, content: Mapping[str, bytes], old_way: frozenset[str]) -> None:
        self._target.write(content)
        self._target.reload(old_way)
        self._old_way = old_way

    def _keeps_out(self) -> bool:
        """Whether operation does not let the canary in on the rules that are written now."""
        return self._attempt(self._doors[0], self.state.in_force, self._target.patience_s) == "unreachable"

    def _confirm(self, now: float) -> None:
        self._note(self.state.wanted, _problem(self._try_out(self.state.wanted)), now)

    def _try_out(self, label: str) -> tuple[Door, Verdict] | None:
        """The first listener where the canary has not come through; None where there is none."""
        for door in self._doors:
            found = self._attempt(door, label, self._target.patience_s)
            if found != "in_force":
                return door, found
        return None

    def _note(self, label: str, problem: str, now: float, flaw: str = "") -> None:
        was, done = self.state, time.time()
        if problem:
            self.state = State(label, was.in_force if was.in_force != label else "", was.since, done, problem)
            log.error("access rules %s are not yet in force: %s", label, problem)
        else:
            since = was.since if was.in_force == label else done
            self.state = State(label, label, since, done, flaw)
            if was.in_force != label:
                log.info("access rules %s are in force", label)
            if flaw:
                log.error("who is revoked is kept out by the access rules alone, without the list: %s", flaw)
        self._due = now + (AGAIN_S if problem or flaw else CONFIRM_S)
        write_atomic(self._file, json.format(json.encode(self.state)) + b"\n")


def _problem(failed: tuple[Door, Verdict] | None) -> str:
    if failed is None:
        return ""
    said = {"not_in_force": "has not taken the rules", "unreachable": "does not let the canary in"}
    return f"the {failed[0].name} listener {said[failed[1]]}"


@contextmanager
def running(keeper: Keeper, guarded: Callable[[Callable[[], None]], Callable[[], None]]) -> Iterator[Keeper]:
    """A keeper at work in a thread of its own; `guarded` sees to what ends it: without one nobody is revoked."""
    thread = threading.Thread(target=guarded(keeper.run), name="access")
    thread.start()
    try:
        yield keeper
    finally:
        keeper.stop()
        thread.join()


def read_state(file: Path) -> State | None:
    """What the keeper has noted last; None where it has noted nothing."""
    try:
        return codec.decode(file.read_bytes(), State)
    except (OSError, WireError):
        return None
