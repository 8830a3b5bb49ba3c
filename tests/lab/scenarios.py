"""What a device goes through while the laboratory breaks it. A scenario is a row; adding one is a line.

`before` is installed in peace. Then one boot does `order` and `then`, and that boot is what faults are put into.
"""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.lab.device import Device
from tests.lab.ledger import Ledger
from tests.lab.materials import MODEL, Publisher

FIRST, PATCHED, BAD, FULL = "m@1.0.0", "m@1.1.0", "m@1.2.0", "m@2.0.0"
SLOW = frozenset({BAD})


@dataclass(frozen=True)
class Scenario:
    """One row. `ends` are the releases that may be current once everything has been repaired and finished.

    `spare` may be so too where the fault damaged what was current.
    """

    name: str
    order: str | None
    ends: tuple[str, ...]
    before: tuple[str, ...] = ()
    then: str = ""
    spare: tuple[str, ...] = ()
    chunk_bytes: int = 4096
    size: int = 20_000

    def sized(self, chunk_bytes: int, size: int) -> "Scenario":
        """The same with other sizes."""
        name = f"{self.name}/{size // 1000}k/{chunk_bytes}"
        return replace(self, name=name, chunk_bytes=chunk_bytes, size=size)


SCENARIOS = [
    Scenario("first_boot", FIRST, (FIRST,)),
    Scenario("full", FULL, (FULL,), (FIRST,)),
    Scenario("patch", PATCHED, (PATCHED,), (FIRST,)),
    Scenario("rollback", None, (FIRST, PATCHED), (FIRST, PATCHED), then="rollback"),
    Scenario("bad_release", BAD, (PATCHED,), (FIRST, PATCHED), spare=(FIRST,)),
    Scenario("garbage", FULL, (FULL,), (FIRST, PATCHED), then="litter"),
    Scenario("reports", None, (FIRST,), (FIRST,), then="reports"),
]

SIZES = [(4096, 20_000), (1024, 20_000), (65536, 20_000), (4096, 90_000), (1024, 9_000), (16384, 300_000)]


def rows(sizes: list[tuple[int, int]]) -> list[Scenario]:
    """Every scenario in every size."""
    return [scenario.sized(*size) for size in sizes for scenario in SCENARIOS]


@dataclass
class Stage:
    """A scenario made ready: the folder it starts from, and what its broker retains."""

    scenario: Scenario
    template: Path
    publisher: Publisher
    boots: int = field(default=0)

    def fresh(self, folder: Path) -> Path:
        """A copy of the starting point; the state folder in it."""
        state = folder / "state"
        if state.exists():
            shutil.rmtree(state)
        shutil.copytree(self.template, state)
        return state

    def boot(self, state: Path, ledger: Ledger, name: str) -> Device:
        """Start the device; every report that it takes or sends is in the ledger."""
        return Device(state, self.publisher, name, ledger, SLOW)

    def play(self, state: Path, ledger: Ledger, name: str = "faulted") -> None:
        """The boot that faults are put into."""
        try:
            device = self.boot(state, ledger, name)
        except OSError:
            if self.scenario.before:
                raise
            return  # nothing is installed yet: a device may refuse to start on a disk that takes nothing
        if self.scenario.then == "reports":
            device.queue.settle(100.0)
        device.go_online()
        if self.scenario.then == "rollback":
            device.supervisor.roll_back(MODEL)
            device.queue.settle(5.0)

    def order_again(self) -> None:
        """What a host does after a failed deployment: order the same release anew."""
        if self.scenario.order is not None:
            self.boots += 1
            self.publisher.desired(self.scenario.order, f"again{self.boots}")


def prepare(scenario: Scenario, folder: Path) -> Stage:
    """Install what comes before, in peace, and publish the order."""
    publisher = Publisher(scenario.chunk_bytes, scenario.size)
    publisher.release("1.0.0")
    publisher.release("1.1.0", after="1.0.0")
    publisher.release("1.2.0", after="1.1.0")
    publisher.release("2.0.0", after="1.0.0", patched=False)
    template = folder / scenario.name.replace("/", "_") / "template"
    template.mkdir(parents=True)
    stage = Stage(scenario, template, publisher)
    for number, release in enumerate(scenario.before):
        publisher.desired(release, f"before{number}")
        device = stage.boot(template, Ledger(), f"before{number}")
        device.go_online()
        assert device.current == device.serving == release
    if scenario.then == "litter":
        _litter(template)
    if scenario.order is not None:
        publisher.desired(scenario.order, "ordered")
    stage.play(stage.fresh(folder / "warm"), Ledger())  # imports whatever is imported late
    return stage


def _litter(template: Path) -> None:
    """What deployments leave that ended in the middle: parts, bitmaps, half-made bundles, torn temporary files."""
    (template / "blobs" / f"{'a' * 64}.part").write_bytes(b"p" * 9000)
    (template / "blobs" / f"{'a' * 64}.bitmap").write_bytes(b"\xff")
    (template / "blobs" / f"{'b' * 64}").write_bytes(b"complete, and nobody wants it")
    half = template / "bundles" / ".half-made.tmp"
    half.mkdir()
    (half / "model.bin").write_bytes(b"m" * 5000)
    (template / "models" / MODEL / ".journal.json.tmp").write_bytes(b"torn")
