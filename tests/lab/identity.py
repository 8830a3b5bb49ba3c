"""`python -m tests.lab.identity`: kill -9, and failing calls, at every system call of enrolment, renewal, return, move.

A device's updater and its files, and the host's half in memory; the host goes on where the device was killed. Promises:
never without an identity once it had one, the same id afterwards, the claim counted once, the claim gone, one identity.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skerry_agent.ports.jobs import AcceptIdentity, IdentityMade, MakeRequest, RequestMade
from skerry_agent.state import offered
from skerry_agent.state.identity import IdentityStore, drop_claim, incarnation_of
from skerry_agent.trust.verification import KeyTrust
from skerry_agent.updater import certificates
from skerry_agent.updater.perform import perform
from skerry_agent.wire.enrolment import EnrolmentRequest, Offer, RenewalRequest, birth_name
from tests.kit.fleet_host import CLAIM, FleetHost
from tests.lab import fault
from tests.lab.fault import Call
from tests.lab.faults import Point, failures, kills, played, report
from tests.lab.ledger import Ledger

NOBODY = KeyTrust({})
SERIAL, DEVICE = "board-1", "edge-17"
WRITES = frozenset(
    {"openat", "write", "fsync", "rename", "mkdir", "symlink", "unlink", "unlinkat", "rmdir", "renameat"}
)
"""Calls that a disk may refuse."""


@dataclass(frozen=True)
class Way:
    """One way to an identity: what is done, and whether there was one before."""

    name: str
    kind: str
    had_one: bool


WAYS = (
    Way("enrolment", "claim", had_one=False),
    Way("renewal", "renewal", had_one=True),
    Way("return", "birth", had_one=True),
    Way("move", "move", had_one=False),
)


class Board:
    """A device's folders, and its whole way through to an identity, as often as it is tried."""

    def __init__(self, folder: Path, host: FleetHost) -> None:
        self.folder, self.state, self.host = folder, folder / "state", host
        self.store = IdentityStore(self.state)

    def go(self, kind: str) -> None:
        """As the supervisor has it done: request, answer, folder, link, claim."""
        incarnation = incarnation_of(self.state)
        current, renewed = self.store.current(), self.store.renewed()
        first = kind in {"claim", "move"}
        if first and current is None and renewed is not None:
            self.store.adopt(renewed)
        elif first and current is not None:
            self.store.tidy(current)  # it was killed when only this and the claim were left to remove
        else:
            self.store.adopt(self.store.stored(self._made(kind, incarnation)))
        drop_claim((self.folder / "claim.key", self.folder / "claim.pem"))

    def _made(self, kind: str, incarnation: str) -> str:
        current = self.store.current()
        files = {
            "claim": (self.folder / "claim.pem", self.folder / "claim.key"),
            "birth": (self.state / "identity" / "birth.pem", self.state / "identity" / "birth.key"),
            "renewal": ("", self.state / "identity" / "device.key"),
            "move": ("", ""),
        }[kind]
        ca = str(self.folder / "fleet-ca.pem")
        if kind == "move":
            offered.keep(self.state, Offer("mqtts://h:8883", "mqtts://h:8884", Path(ca).read_text()))
            ca = str(offered.authority(self.state))
        made = perform(MakeRequest(str(self.state), kind, incarnation, ca, *map(str, files)), NOBODY)
        assert isinstance(made, RequestMade), made
        certificate, birth = self._asked(kind, made, incarnation)
        before = str(current.folder) if current is not None else ""
        answer = perform(AcceptIdentity(str(self.state), kind, ca, certificate, birth, before), NOBODY)
        assert isinstance(answer, IdentityMade), answer
        return answer.folder

    def _asked(self, kind: str, made: RequestMade, incarnation: str) -> tuple[bytes, bytes | None]:
        """The host's answer; what it has recorded stays recorded, whatever becomes of the device."""
        book = self.host.folder / "book.json"
        owners, used = json.loads(book.read_text()) if book.exists() else ({}, 0)
        self.host.owners, self.host.used = owners, used
        if kind == "renewal":
            return self.host.renew(DEVICE, RenewalRequest("0" * 32, made.csr, made.proof)).certificate or b"", None
        request = EnrolmentRequest(made.csr, "0" * 32, incarnation, made.birth_csr, SERIAL)
        answer = self.host.answer(birth_name(DEVICE) if kind == "birth" else CLAIM, request)
        book.write_text(json.dumps([self.host.owners, self.host.used]))
        return answer.certificate or b"", answer.birth_certificate

    def broken(self, *, at_rest: bool) -> Iterator[str]:
        """Which promises its files break; `at_rest`: nothing is under way."""
        stored = self.store.current()
        if stored is None:
            yield f"it has no identity: {self.store.issue}"
            return
        if stored.identity.device != DEVICE:
            yield f"it is {stored.identity.device}"
        chain = certificates.read_chain((stored.folder / "device.pem").read_bytes(), "device.pem")
        certificates.check_key(chain[0], certificates.read_key(str(stored.folder / "device.key")), "device.pem")
        if not stored.has_birth:
            yield "it has no birth certificate"
        if (self.state / offered.FOLDER).exists() and offered.taken(self.state) is None:
            yield "it has moved, and does not know where to"
        if at_rest:
            yield from self._left_over(stored.folder.name)

    def _left_over(self, name: str) -> Iterator[str]:
        book = json.loads((self.host.folder / "book.json").read_text())
        if book[1] != 1:
            yield f"the claim was counted {book[1]} times"
        left = sorted(path.name for path in self.store.folder.iterdir() if path.name != name)
        left += [path for path in ("claim.pem", "claim.key") if (self.folder / path).exists()]
        if left:
            yield f"left over: {', '.join(left)}"


class Bench:
    """A board before one way to an identity, which can be put back to that moment; and the calls of a clean run."""

    def __init__(self, way: Way, folder: Path) -> None:
        self.way, self.folder, self.ledger = way, folder, Ledger()
        self.run, self.start = folder / "run", folder / "start"
        host = FleetHost(self.run / "host", records={SERIAL: DEVICE})
        host.provision(self.run / "board")
        (self.run / "board" / "state").mkdir()
        self.board = Board(self.run / "board", host)
        if way.had_one:
            self.board.go("claim")
        else:
            incarnation_of(self.board.state)
        shutil.copytree(self.run, self.start, symlinks=True)
        self.calls = fault.record(self._work, self.run / "board", folder / "trace")

    def _work(self) -> None:
        self.board.go(self.way.kind)

    def reset(self) -> None:
        shutil.rmtree(self.run)
        shutil.copytree(self.start, self.run, symlinks=True)
        self.ledger.clear()

    def kill(self, call: Call) -> list[str]:
        """Kill it there, look at what is there, and let it go on."""
        self.reset()
        fault.kill_at(self._work, call, self.ledger)
        return self._after(f"killed at {call}")

    def fail(self, call: Call, error: str) -> list[str]:
        """Let the call fail; what is raised or refused is tried again later."""
        self.reset()
        fault.fail_at(self._work, call, error, self.ledger)
        return self._after(f"{error} at {call}")

    def _after(self, what: str) -> list[str]:
        broken = list(self.board.broken(at_rest=False)) if self.way.had_one else []
        self.ledger.clear()
        ended = fault.run(self._again, self.ledger)
        broken += list(self.board.broken(at_rest=True)) if ended.well else [f"it does not recover: {ended.said}"]
        return [f"{self.way.name}, {what}: {line}" for line in broken]

    def _again(self) -> None:
        """What a start does: a claim is used up, a renewed identity connects, or it is all begun anew."""
        renewed = self.board.store.renewed()
        if self.way.had_one and renewed is not None:
            self.board.store.adopt(renewed)
        else:
            self.board.go(self.way.kind)


def points(bench: Bench, only: int = 0) -> Iterator[Point]:
    """(what was done, what is broken) of every fault; of `only` so many, evenly, if that is given."""
    return played([*kills(bench), *failures(bench, WRITES)], only)


def main() -> None:
    """All of them; exit 1 if anything is broken."""
    report("identity", 12, WAYS, lambda way, folder: points(Bench(way, folder)))


if __name__ == "__main__":
    main()
