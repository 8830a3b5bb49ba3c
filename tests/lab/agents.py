"""`python -m tests.lab.agents`: upgrades of the agent, killed and failing at every system call, and with power cut.

A device with a model, its whole supervisor over a real folder; pip is an unpacker, the probe believes, and a service
manager is a loop that starts whatever the launcher's record names. Promises: whatever is started is whole, the old
agent or the new; the record is never lost; in the end the upgrade is done or the old agent runs, and nothing is left.
"""

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry_agent.config import load
from skerry_agent.launch import files, watch
from skerry_agent.ports.jobs import InstallAgent
from skerry_agent.supervisor.loop import Supervisor
from skerry_agent.trust.verification import KeyTrust
from skerry_agent.updater.agent import install_agent
from skerry_agent.updater.installed import damaged_file
from skerry_agent.updater.room import Room
from skerry_agent.wire import codec, envelope, topics
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.twin import Assignment, Desired
from tests.kit.agents import AgentRelease
from tests.kit.wheels import Wheel
from tests.lab import fault
from tests.lab.device import (
    CONFIG,
    CONFIG_FILE,
    TRUST_FILE,
    LabLink,
    LabMeters,
    LabProcesses,
    LabQueue,
    performed,
    unpack,
)
from tests.lab.disk_model import TRACED, Reader, build, write_tree
from tests.lab.fault import Call
from tests.lab.faults import Fault, Point, failures, kills, played, report
from tests.lab.ledger import Ledger
from tests.lab.materials import DEVICE, MODEL, Publisher
from tests.lab.power import losses

BASE, FIRST, SECOND = "", "9.1.0", "9.2.0"
UPGRADE_S, STEPS = 90.0, 12
WRITES = frozenset({"openat", "write", "fsync", "syncfs", "rename", "mkdir", "unlink", "unlinkat", "rmdir"})


@dataclass(frozen=True)
class Way:
    """An upgrade. `fate` is the candidate's: healthy, late, or dies; `ends` is which agent runs in the end."""

    name: str
    before: str
    order: str
    fate: str
    ends: str


WAYS = (
    Way("first upgrade", BASE, FIRST, "healthy", FIRST),
    Way("next upgrade", FIRST, SECOND, "healthy", SECOND),
    Way("back by its deadline", BASE, FIRST, "late", BASE),
    Way("back by its attempts", FIRST, SECOND, "dies", FIRST),
    Way("a committed one dies", FIRST, BASE, "dies later", BASE),
)


def wheel(version: str) -> Wheel:
    """As little of an agent as the launcher looks for."""
    parts = {f"skerry_agent/{name}.py": f"# {version}\n" for name in ("__init__", "__main__", "part")}
    return Wheel("skerry-agent", version, parts)


class Processes(LabProcesses):
    """The updater's work done here; of an installation without pip and probe."""

    def _result(self, job: Any) -> Any:
        if not isinstance(job, InstallAgent):
            return super()._result(job)
        config = self._device.config
        trust = KeyTrust.from_file(config.trust_file, config.state_dir)
        version = job.release.partition("@")[2]
        return performed(lambda: install_agent(job, trust, Room(), unpack, lambda *_: version))


class Running:
    """One run of a supervisor, which is the agent in `own`; `relaunch` once it has ended for another one."""

    slow: frozenset[str] = frozenset()

    def __init__(self, state: Path, publisher: Publisher, ledger: Ledger, own: str) -> None:
        self.queue, self.refusals, self.relaunch = LabQueue(), [], False
        self.config = load(state.parent / CONFIG_FILE)
        self.link = LabLink(self.queue, publisher.retained, ledger)
        processes: Any = Processes(self)  # type: ignore[arg-type]
        self.supervisor = Supervisor(self.config, self.queue, self.link, processes, LabMeters(), f"of {own}")  # type: ignore[arg-type]
        self.link.take, self.link.acked = self.supervisor.message, self.supervisor.acked
        upgrades = self.supervisor.upgrades
        upgrades.own, upgrades.enabled = own, self._end
        self.supervisor.start()
        self.queue.drain()

    def _end(self) -> None:
        self.relaunch = True

    @property
    def serving(self) -> bool:
        """Whether the model answers."""
        return self.supervisor.status().models[MODEL].serving

    def go(self) -> None:
        """Connect, and go on until nothing changes any more, or it ends for another agent."""
        self.queue.settle(2.0)
        self.link.connected = True
        self.supervisor.link_up()
        for _ in range(int(UPGRADE_S)):
            if self.relaunch:
                return
            self.queue.settle(1.0)


class Board:
    """A device's folder, its host, and the loop that starts its agents."""

    def __init__(self, folder: Path, way: Way) -> None:
        self.folder, self.state, self.way = folder, folder / "state", way
        self.agents = files.folder_of(self.state)
        self.publisher, self.ledger = Publisher(16384, 9_000), Ledger()
        self.model = self.publisher.release("1.0.0")
        self.releases = {v: AgentRelease(self.publisher._signer, v, wheel(v)) for v in (FIRST, SECOND)}
        for release in self.releases.values():
            for raw in (release.raw, release.tar):
                self.publisher._put(raw)
        self.state.mkdir(parents=True)
        (folder / CONFIG_FILE).write_text(CONFIG)
        (folder / TRUST_FILE).write_bytes(self.publisher.keys)

    def desire(self, version: str, deployment: str) -> None:
        """The host orders an agent, none for the base environment's; and always the model."""
        self.publisher._generation += 1
        manifest = self.publisher.manifests[self.model]
        model = Assignment(MODEL, self.model, "cpu", manifest, "m1")
        order = None
        if version:
            release = self.releases[version]
            chunked = replace_blob(release)
            order = chunked.order(deployment)
        state = Desired(DEVICE, self.publisher._generation, 1_800_000_000.0, (model,), agent=order)
        raw = codec.encode(self.publisher._signer.sign(envelope.DESIRED, codec.encode(state)))
        self.publisher.retained[topics.desired(DEVICE)] = raw

    def play(self, fate: str = "healthy") -> None:
        """What the service manager, the launcher and the agents do, until nothing changes any more."""
        for _ in range(STEPS):
            step = files.started(self.agents)
            agent, trial = step.run, step.record.trial
            assert agent is not None
            self._look(agent.folder)
            on_trial = trial is not None and trial.agent == agent
            if on_trial and fate == "late":
                watch.late(self.agents)
            elif not (on_trial and fate == "dies") and not (agent.folder and fate == "dies later"):
                running = Running(self.state, self.publisher, self.ledger, agent.folder)
                running.go()
                if not running.relaunch:
                    self._at_rest(running)
                    return
        self.ledger.note("broken it never comes to rest")

    def _look(self, folder: str) -> None:
        """What is started is whole. Looked at twice: the first time it may be this very look that a fault hits."""
        if folder and self._damage(folder) and (damaged := self._damage(folder)):
            self.ledger.note(f"broken the agent in {folder} is started, of which {damaged} is damaged")

    def _damage(self, folder: str) -> str | None:
        try:
            return damaged_file(self.agents / folder)
        except OSError as error:
            return str(error)

    def _at_rest(self, running: Running) -> None:
        if not running.serving:
            self.ledger.note(f"broken the model does not serve: {running.supervisor._issues()}")
        record, damage = files.read(self.agents)
        if damage:  # it may be this very look that a fault has hit
            record, damage = files.read(self.agents)
        named = {running.supervisor.upgrades.own or "", record.current.folder}
        named |= {record.previous.folder} if record.previous is not None else set()
        there = {path.name for path in self.agents.iterdir() if path.is_dir()} if self.agents.exists() else set()
        blobs = sorted(path.name for path in (self.state / "blobs").iterdir())
        left = sorted(there - named) + blobs
        for broken in (damage, "a trial is open" if record.trial else ""):
            if broken:
                self.ledger.note(f"broken {broken}")
        if left:
            self.ledger.note(f"left {left}")

    @property
    def current(self) -> str:
        """The version of the agent that is started next."""
        return files.read(self.agents)[0].current.version


def replace_blob(release: AgentRelease) -> AgentRelease:
    """The same, its manifest in chunks as the publisher retains them."""
    release.manifest = describe(release.raw, 16384)
    return release


class Bench:
    """A board before one way, which can be put back to that moment; and the calls of a clean run."""

    def __init__(self, way: Way, folder: Path) -> None:
        self.way, self.folder = way, folder
        self.run, self.start = folder / "run", folder / "start"
        self.board = Board(self.run, way)
        self.board.desire(way.before, "d0")
        self.board.play()
        assert self.board.current == way.before, self.board.ledger.lines("broken")
        if way.order:
            self.board.desire(way.order, "d1")
        shutil.copytree(self.run, self.start, symlinks=True)
        self._work()  # imports whatever is imported late
        assert self.board.current == way.ends, (self.board.current, self.board.ledger.lines("broken"))
        assert not self.board.ledger.lines("broken"), self.board.ledger.lines("broken")
        self.reset()
        self.calls = fault.record(self._work, self.run, folder / "trace")

    def _work(self) -> None:
        self.board.play(self.way.fate)

    def reset(self) -> None:
        shutil.rmtree(self.run)
        shutil.copytree(self.start, self.run, symlinks=True)
        self.board.ledger.clear()

    def kill(self, call: Call) -> list[str]:
        """Kill everything there, look at what is there, and let it be started again."""
        self.reset()
        fault.kill_at(self._work, call, self.board.ledger)
        return self._recovered(f"killed at {call}")

    def kill_twice(self, call: Call, rng: random.Random) -> list[str]:
        """And once more in the run that recovers."""
        self.reset()
        fault.kill_at(self._work, call, self.board.ledger)
        again = rng.choice(self.calls)
        fault.kill_at(self._work, Call(again.name, max(1, again.ordinal // 2)), self.board.ledger)
        return self._recovered(f"killed at {call}, then at {again}")

    def fail(self, call: Call, error: str) -> list[str]:
        """Let the call fail, once."""
        self.reset()
        fault.fail_at(self._work, call, error, self.board.ledger)
        return self._recovered(f"{error} at {call}", failed=True)

    def lose(self, tree: Any, what: str) -> list[str]:
        """What a power cut leaves."""
        shutil.rmtree(self.board.state)
        self.board.state.mkdir()
        write_tree(tree, self.board.state)
        self.board.ledger.clear()
        return self._recovered(what)

    def _recovered(self, what: str, *, failed: bool = False) -> list[str]:
        """Started again it comes to rest; where a call failed, so may the upgrade have, and it succeeds anew."""
        ledger = self.board.ledger
        broken = ledger.lines("broken")
        ledger.clear()
        ended = fault.run(self._work, ledger)
        broken += [*ledger.lines("broken"), *(f"left over: {line}" for line in ledger.lines("left"))]
        if not ended.well:
            broken.append(f"it does not recover: {ended.said}")
        current = self.board.current
        if current not in {self.way.before, self.way.order, self.way.ends}:
            broken.append(f"{current} is the current agent")
        if current != self.way.ends and not failed:
            broken.append(f"{current or 'base'} is the current agent: {files.read(self.board.agents)[0]}")
        if failed and current != self.way.ends:
            broken += self._ordered_anew()
        return [f"{self.way.name}, {what}: {line}" for line in broken]

    def _ordered_anew(self) -> list[str]:
        before = self.board.publisher.retained[topics.desired(DEVICE)]
        self.board.desire(self.way.order, "d2")
        ledger = self.board.ledger
        ledger.clear()
        ended = fault.run(self._work, ledger)
        self.board.publisher.retained[topics.desired(DEVICE)] = before
        broken = ledger.lines("broken") + ([] if ended.well else [ended.said])
        return broken + ([] if self.board.current == self.way.ends else [f"ordered anew: {self.board.current}"])


def power_cuts(bench: Bench, rng: random.Random, moments: int) -> Iterator[tuple[str, list[str]]]:
    """Every state of the disk that a power cut can leave, in two models of a disk."""
    bench.reset()
    reader = Reader(bench.board.state)
    trace = bench.folder / "writes"
    options = ("-y", "-xx", "-s", "4000000", "-o", str(trace), "-e", f"trace={TRACED}")
    assert fault.run(bench._work, Ledger(), *options).well
    recording = reader.read(trace.read_text(errors="replace"))
    real = {
        str(path.relative_to(bench.board.state)): None if path.is_dir() else path.read_bytes()
        for path in sorted(bench.board.state.rglob("*"))
    }
    assert build(recording, recording.ops) == real, "the disk model differs from the disk"
    for loss in losses(recording, rng, moments):
        what = f"power cut after {loss.count} operations ({loss.model})"
        yield what, bench.lose(loss.tree, what)


def points(bench: Bench, only: int = 0) -> Iterator[Point]:
    """(what was done, what is broken) of every kill and failing call; of `only` so many, evenly."""
    rng = random.Random(f"agents {bench.way.name}")
    again: list[Fault] = [
        (f"kill {call} and again", lambda call=call: bench.kill_twice(call, rng))  # type: ignore[misc]
        for call in bench.calls[::3]
    ]
    return played([*kills(bench, "kill "), *again, *failures(bench, WRITES)], only)


def main() -> None:
    """All of them; exit 1 if anything is broken."""

    def found(way: Way, folder: Path) -> Iterator[Point]:
        bench = Bench(way, folder)
        yield from points(bench)
        yield from power_cuts(bench, random.Random(way.name), 40)

    report("agents", 24, WAYS, found)


if __name__ == "__main__":
    main()
