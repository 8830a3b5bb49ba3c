"""Keeps a broker's access rules those of the registry: writes them, has them reloaded, tries them out, takes them back.

A change is in force when the canary has come through at every listener. Where it has not, that listener's files of
before are put back, because a broker that is started on rules that it cannot read would let nobody in; but only if
that helps. Else whoever makes a listener unreachable could keep any revocation from coming into force. The state says
`not yet in force` meanwhile, and it is tried again. The state is a file, which `skerry broker status` shows.
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
from skerry_agent.wire.names import is_device_id
from skerry_host.files import write_atomic
from skerry_host.identity.authority import KeyPair
from skerry_host.plane.broker.canary import Door, Verdict
from skerry_host.plane.broker.rules import LIST, Rules

log = logging.getLogger(__name__)

LOOK_S = 0.3
"""How often the registry is asked for its version: with the rest, a revocation is in force within a second or two."""
AGAIN_S = 5.0
CONFIRM_S = 25.0
"""How often what is in force is tried out again: somebody else may have changed the broker."""


EXPELLED_AT_ONCE = 5


class Source(Protocol):
    """Where rules come from."""

    def version(self) -> int:
        """Another one whenever the rules may be others."""

    def rules(self, now: float) -> Rules:
        """As they are to be."""

    def stand_in(self, device: str, now: float) -> KeyPair:
        """What takes a device's place at the broker."""


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

    def expel(self, stand_in: KeyPair) -> None:
        """End the session of a device that is denied: it is mute, but may still keep the broker busy."""


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
        self._denied: frozenset[str] = frozenset()
        self._expelled: set[str] = set()
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
        elif self.state.holds and self._denied - self._expelled:
            self._expel(now)
        elif now >= self._due or self._due > now + CONFIRM_S:  # the clock was set back
            if self.state.holds:
                self._confirm(now)
            else:
                self._bring(self._source.rules(now), now)

    def _bring(self, rules: Rules, now: float) -> None:
        former, before, newest = self._target.written(), self._old_way, self._target.content(rules)
        self._put(newest, rules.access.old_way)
        taken, problem = self._try_out(rules.label)
        back = {name: data for name, data in former.items() if not name.startswith(taken)}
        if problem and any(newest.get(name) != data for name, data in back.items()):
            self._put(back, before)
            if not self._is_well(self.state.in_force, but=taken):
                self._put(newest, rules.access.old_way)
        self._note(rules.label, problem, now, rules.flaw)
        self._denied = frozenset(filter(is_device_id, rules.access.revoked))
        self._expelled &= self._denied

    def _expel(self, now: float) -> None:
        """A few at a time, so that a revocation never waits for those before it. Claims have no ids to be known by."""
        for device in sorted(self._denied - self._expelled)[:EXPELLED_AT_ONCE]:
            self._expelled.add(device)
            self._target.expel(self._source.stand_in(device, now))

    def _put(self, content: Mapping[str, bytes], old_way: frozenset[str]) -> None:
        self._target.write(content)
        self._target.reload(old_way)
        self._old_way = old_way

    def _confirm(self, now: float) -> None:
        self._note(self.state.wanted, self._try_out(self.state.wanted)[1], now)

    def _try_out(self, label: str) -> tuple[tuple[str, ...], str]:
        """Of which names files have certainly been read, and what is wrong; nothing where there is none.

        Those of each listener before the first at which the canary has not come through.
        """
        said = {"not_in_force": "has not taken the rules", "unreachable": "does not let the canary in"}
        taken: tuple[str, ...] = ()
        for door in self._doors:
            found = self._attempt(door, label, self._target.patience_s)
            if found != "in_force":
                return taken, f"the {door.name} listener {said[found]}"
            taken += (door.name, LIST)
        return taken, ""

    def _is_well(self, label: str, but: tuple[str, ...]) -> bool:
        """Whether the other listeners are well with the files of before; without a `label`, whether they let it in."""
        others = [door for door in self._doors if door.name not in but]
        found = {self._attempt(door, label or "unknown", self._target.patience_s) for door in others}
        return "unreachable" not in found and (not label or "not_in_force" not in found)

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
