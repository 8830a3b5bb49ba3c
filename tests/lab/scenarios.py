"""What a device goes through while the laboratory breaks it. A scenario is a row; adding one is a line.

`before` is installed without faults. Then one boot does `order` and `then`, and faults are injected into that boot.
"""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from skerry_agent.cli.factory_install import install_factory
from skerry_agent.config import ConfigError
from skerry_agent.trust.verification import KeyTrust
from skerry_agent.wire.errors import SkerryError
from tests.lab.device import ACCELERATED, CONFIG, CONFIG_FILE, CRASHES, TRUST_FILE, Device
from tests.lab.ledger import Ledger
from tests.lab.materials import MODEL, Publisher

FIRST, PATCHED, BAD, FULL = "m@1.0.0", "m@1.1.0", "m@1.2.0", "m@2.0.0"
OLD_RT, NEW_RT, BAD_RT = "rt@1.0.0", "rt@2.0.0", f"rt@{CRASHES}"
FACTORY, LATER_FACTORY = "m@0.1.0", "m@0.2.0"
SLOW = frozenset({BAD})


@dataclass(frozen=True)
class Scenario:
    """One row. `final` are the releases that may be current once everything has been repaired and finished.

    `final_if_damaged` may be so too where the fault damaged the current bundle. `factory`: the device came with a
    factory release. `accelerator`: the board has an Edge TPU, which is `there`, or `absent` from the order on.
    """

    name: str
    order: str | None
    final: tuple[str, ...]
    before: tuple[str, ...] = ()
    then: str = ""
    final_if_damaged: tuple[str, ...] = ()
    factory: bool = False
    chunk_bytes: int = 4096
    size: int = 20_000
    accelerator: str = ""

    def sized(self, chunk_bytes: int, size: int) -> "Scenario":
        """The same with other sizes."""
        name = f"{self.name}/{size // 1000}k/{chunk_bytes}"
        return replace(self, name=name, chunk_bytes=chunk_bytes, size=size)

    @property
    def serves(self) -> tuple[str, ...]:
        """What may serve before there is a network; if there is anything, something must."""
        return (*self.before, *((FACTORY, LATER_FACTORY) if self.factory else ()))


SCENARIOS = [
    Scenario("first_boot", FIRST, (FIRST,)),
    Scenario("full", FULL, (FULL,), (FIRST,)),
    Scenario("patch", PATCHED, (PATCHED,), (FIRST,)),
    Scenario("rollback", None, (FIRST, PATCHED), (FIRST, PATCHED), then="rollback"),
    Scenario("bad_release", BAD, (PATCHED,), (FIRST, PATCHED), final_if_damaged=(FIRST,)),
    Scenario("garbage", FULL, (FULL,), (FIRST, PATCHED), then="litter"),
    Scenario("reports", None, (FIRST,), (FIRST,), then="reports"),
    Scenario("factory_first_boot", FIRST, (FIRST,), factory=True),
    Scenario("factory_behind", PATCHED, (PATCHED,), (FIRST,), factory=True),
    Scenario("factory_rollback", None, (FACTORY, FIRST), (FIRST,), then="to_factory", factory=True),
    Scenario("factory_install", None, (FIRST,), (FIRST,), then="install_factory", factory=True),
    Scenario("runtime", f"{FIRST}+{NEW_RT}", (f"{FIRST}+{NEW_RT}",), (FIRST,)),
    Scenario(
        "runtime_and_model",
        f"{PATCHED}+{NEW_RT}",
        (f"{PATCHED}+{NEW_RT}",),
        (FIRST, f"{FIRST}+{OLD_RT}"),
    ),
    Scenario("runtime_crashes", f"{FIRST}+{BAD_RT}", (f"{FIRST}+{OLD_RT}",), (f"{FIRST}+{OLD_RT}",)),
    Scenario("runtime_to_base", FIRST, (FIRST,), (f"{FIRST}+{OLD_RT}",)),
    Scenario(
        "runtime_rollback",
        None,
        (f"{FIRST}+{OLD_RT}", f"{FIRST}+{NEW_RT}"),
        (f"{FIRST}+{OLD_RT}", f"{FIRST}+{NEW_RT}"),
        then="rollback",
    ),
    Scenario("spare", FULL, (FULL,), (FIRST,), accelerator="there"),
    Scenario("spare_serves", FULL, (FULL,), (FIRST,), accelerator="absent"),
]

SIZES = [(4096, 20_000), (1024, 20_000), (65536, 20_000), (4096, 90_000), (1024, 9_000), (16384, 300_000)]


def rows(sizes: list[tuple[int, int]]) -> list[Scenario]:
    """Every scenario in every size."""
    return [scenario.sized(*size) for size in sizes for scenario in SCENARIOS]


@dataclass
class PreparedScenario:
    """A scenario made ready: the folder that it starts from, and what its broker retains."""

    scenario: Scenario
    template: Path
    publisher: Publisher
    boots: int = field(default=0)

    def fresh(self, folder: Path) -> Path:
        """A copy of the starting point, with the times of its files; the state folder in it."""
        state = folder / "state"
        if state.exists():
            shutil.rmtree(state)
        shutil.copytree(self.template, folder, dirs_exist_ok=True)
        return state

    def boot(self, state: Path, ledger: Ledger, name: str) -> Device:
        """Start the device; every report that it takes or sends is in the ledger."""
        there = self.scenario.accelerator == "there" or (bool(self.scenario.accelerator) and name.startswith("before"))
        return Device(state, self.publisher, name, ledger, SLOW, accelerator=there)

    def play(self, state: Path, ledger: Ledger, name: str = "faulted") -> None:
        """The boot that faults are put into."""
        try:
            device = self.boot(state, ledger, name)
        except ConfigError:
            if self.scenario.before:
                raise
            return  # read for the first time, so there is no copy: whoever started the device starts it again
        except OSError:
            if self.scenario.serves:
                raise
            return  # nothing is installed yet: a device may refuse to start on a disk that takes nothing
        if self.scenario.then == "reports":
            device.queue.settle(100.0)
        if self.scenario.then == "install_factory":
            self._install_factory(device)
        device.go_online()
        if self.scenario.then in {"rollback", "to_factory"}:
            device.supervisor.roll_back(MODEL, factory=self.scenario.then == "to_factory")
            device.queue.settle(5.0)

    def _install_factory(self, device: Device) -> None:
        """What the command line does, in a process of its own: that a disk refuses it does not concern the agent."""
        try:
            trust = KeyTrust.from_file(device.config.trust_file, device.config.state_dir)
            install_factory(device.config, trust, self.stick)
        except (OSError, SkerryError):
            return

    @property
    def stick(self) -> Path:
        """A folder with the later factory release."""
        return self.template.parent / "stick"

    def order_again(self) -> None:
        """What a host does after a failed deployment: order the same release anew."""
        if self.scenario.order is not None:
            self.boots += 1
            self.publisher.desired(self.scenario.order, f"again{self.boots}")


def prepare(scenario: Scenario, place: Path) -> PreparedScenario:
    """Install what comes before without faults, where the faults will be, and publish the order."""
    publisher = Publisher(scenario.chunk_bytes, scenario.size, bool(scenario.accelerator))
    for version in ("0.1.0", "0.2.0"):
        publisher.release(version)
    publisher.release("1.0.0", after="0.1.0", patched=False)
    publisher.release("1.1.0", after="1.0.0")
    publisher.release("1.2.0", after="1.1.0")
    publisher.release("2.0.0", after="1.0.0", patched=False)
    for runtime in (OLD_RT, NEW_RT, BAD_RT) if "rt@" in f"{scenario.order} {scenario.before}" else ():
        publisher.runtime(runtime.partition("@")[2])
    stage = PreparedScenario(scenario, place.with_name("template"), publisher)
    publisher.export("0.2.0", stage.stick)
    _without_faults(stage, place)
    shutil.copytree(place, stage.template)
    if scenario.order is not None:
        publisher.desired(scenario.order, "ordered")
    stage.play(stage.fresh(place), Ledger())  # imports whatever is imported late
    return stage


def _without_faults(stage: PreparedScenario, place: Path) -> None:
    state, scenario = place / "state", stage.scenario
    state.mkdir(parents=True)
    (place / CONFIG_FILE).write_text(ACCELERATED if scenario.accelerator else CONFIG)
    (place / TRUST_FILE).write_bytes(stage.publisher.keys)
    if scenario.factory:
        stage.publisher.export("0.1.0", state / "factory" / MODEL)
    for number, release in enumerate(scenario.before):
        stage.publisher.desired(release, f"before{number}")
        device = stage.boot(state, Ledger(), f"before{number}")
        device.go_online()
        assert device.current == device.serving == release
    if scenario.then == "litter":
        _litter(state)


def _litter(state: Path) -> None:
    """What deployments leave that ended in the middle: parts, bitmaps, half-made bundles, torn temporary files."""
    (state / "blobs" / f"{'a' * 64}.part").write_bytes(b"p" * 9000)
    (state / "blobs" / f"{'a' * 64}.bitmap").write_bytes(b"\xff")
    (state / "blobs" / f"{'b' * 64}").write_bytes(b"complete, and nobody wants it")
    half = state / "bundles" / ".half-made.tmp"
    half.mkdir()
    (half / "model.bin").write_bytes(b"m" * 5000)
    (state / "models" / MODEL / ".journal.json.tmp").write_bytes(b"torn")
