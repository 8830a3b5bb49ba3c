"""A desk that answers boards, over a real registry and a real authority, by a clock of its own. No tests here."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from skerry_agent.wire import codec
from skerry_agent.wire.enrolment import EnrolmentAnswer, claim_name
from skerry_agent.wire.twin import Desired
from skerry_host.fleet.device import Device
from skerry_host.plane.enrolment import arriving
from skerry_host.plane.enrolment.desk import Desk, Request
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import claims, devices, identities, twins
from skerry_host.plane.registry.records.claims import Wanted
from skerry_host.plane.rollouts.director import Director
from skerry_host.release import keys
from tests.kit.boards import Board
from tests.kit.home import make_home
from tests.kit.rollouts import Rig

NOW = 1_800_000_000.0
DAY_S = 86_400.0


class EnrolmentRig(Rig):
    """With `dev-1`, a device of the old way."""

    def __init__(self, folder: Path, where=None):
        if where is None:
            shutil.copy(_migrated(), make_home(folder).registry)
        super().__init__(folder, where)
        self.now = NOW
        self.director = Director(keys.load(self.home.keys, "director"), self.store, self.clock)
        self.desk = Desk(self.registry, self.home.identity, self.director, self.clock)

    def board(self, serial: str = "", **how) -> Board:
        return Board(Path("nowhere"), serial, **how)

    def ask(self, board: Board, claim: int = 1, **how) -> EnrolmentAnswer:
        """What the board is told."""
        request = Request(claim_name(claim), board.sha256[:16], board.request(**how))
        return codec.decode(self.desk.answer(request).payload, EnrolmentAnswer)

    def return_as(self, device: str, board: Board) -> EnrolmentAnswer:
        """What a board is told that comes by its birth certificate."""
        request = Request(f"@birth-{device}", board.sha256[:16], board.request(by_birth=True))
        return codec.decode(self.desk.answer(request).payload, EnrolmentAnswer)

    def approved(self) -> list[EnrolmentAnswer]:
        return [codec.decode(each.payload, EnrolmentAnswer) for each in self.desk.approved()]

    def claim_one(self, device: str, *, replace: bool = False) -> int:
        with self.registry.write() as session:
            made = arriving.claim_for_one(session, edge(device), 7.0, self.now, replace=replace)
        return made.number

    def claim_records(self, **serials: str) -> int:
        """A claim for records, by name (with _ for -), each with a serial."""
        records = [arriving.NewRecord(edge(name.replace("_", "-")), serial) for name, serial in serials.items()]
        with self.registry.write() as session:
            return arriving.claim_for_records(session, records, 7.0, self.now).number

    def claim_count(self, count: int) -> int:
        wanted = Wanted("generic-x86", ("lab",), self.now + 7 * DAY_S, count)
        with self.registry.write() as session:
            return arriving.claim_for_count(session, wanted, self.now).number

    def approve(self, board: Board, device: str, *, replace: bool = False) -> None:
        with self.registry.write() as session:
            arriving.approve(session, board.code, arriving.Approval(edge(device), replace), self.now)

    def used(self, claim: int = 1) -> int:
        with self.registry.read() as session:
            return claims.find(session, claim_name(claim)).used

    def identity(self, device: str):
        with self.registry.read() as session:
            return identities.find(session, device)

    def desired(self, device: str) -> Desired | None:
        with self.registry.read() as session:
            return twins.find(session, device).desired

    def waiting(self) -> list[str]:
        with self.registry.read() as session:
            return [row.code for row in claims.waiting(session)]

    def of_fleet(self) -> list[str]:
        with self.registry.read() as session:
            return [each.id for each in devices.all_devices(session)]


@functools.cache
def _migrated() -> Path:
    """A registry as it is new, made once: a copy is quicker than its migrations."""
    folder = Path(tempfile.mkdtemp(prefix="skerry-registry-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    open_registry(folder / "r.sqlite").close()
    return folder / "r.sqlite"


def edge(name: str) -> Device:
    return Device(name, "generic-x86", frozenset({"lab"}), ("cpu",))
