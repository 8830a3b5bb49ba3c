"""A device of the laboratory: the real supervisor, machine, journal, blobs, updater and outbox over a real folder.

Only what is outside is simulated: time passes when told, the broker is a dictionary, the updater's work is done in
this process, and a runner is a script that reads its bundle as strictly as the real one. So a whole deployment is a
few hundred system calls in one process, which can be killed at any of them.
"""

import hashlib
import heapq
import itertools
import zipfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from skerry_agent.config import load
from skerry_agent.deployment.unit import Unit
from skerry_agent.ports.interfaces import AcceleratorLook
from skerry_agent.ports.jobs import Refusal, StageJob
from skerry_agent.ports.probe import Probe
from skerry_agent.ports.runner_protocol import (
    Accept,
    Accepting,
    Drain,
    Drained,
    Heartbeat,
    Job,
    Loaded,
    Ready,
    Refused,
    Stop,
)
from skerry_agent.state.disk import sha256_of
from skerry_agent.supervisor.loop import Supervisor
from skerry_agent.trust.key_file import TrustError
from skerry_agent.trust.verification import KeyTrust
from skerry_agent.updater.bundle import stage
from skerry_agent.updater.errors import RefusedError
from skerry_agent.updater.installed import damaged_file
from skerry_agent.updater.perform import perform
from skerry_agent.updater.room import Room
from skerry_agent.updater.runtime import Tools
from skerry_agent.wire import codec, topics
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.sketch import Recorder
from skerry_agent.wire.telemetry import Receipt, Report, Stored
from tests.lab.ledger import Ledger
from tests.lab.materials import DEVICE, MODEL, QUICK_US, RUNTIME, SLOW_US, Publisher

CONFIG_FILE, TRUST_FILE = "agent.toml", "trust.json"
CONFIG = f"""# A device of the laboratory.
[device]
id = "{DEVICE}"
[broker]
url = "mqtt://localhost"
[board]
name = "lab"
[agent]
state_dir = "state"
telemetry_interval_s = 20.0
[models.{MODEL}]
http = "127.0.0.1:0"  # copies of one state folder run side by side, and each has to make the same system calls
unix = ""
"""
ACCELERATED = CONFIG.replace('name = "lab"', 'name = "lab"\ntargets = ["edgetpu", "cpu"]')
CRASHES = "6.6.6"
"""The version of a runtime that this processor cannot run."""
SETTLE_S = 40.0
HEARTBEAT_S = 4.0


class Timer:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class LabQueue:
    """Clock and queue whose time passes only in `settle`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._calls: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def post(self, call: Callable[[], None]) -> None:
        self._calls.append(call)

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_800_000_000.0 + self.now

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = Timer(call)
        heapq.heappush(self._timers, (self.now + seconds, next(self._order), timer))
        return timer

    def drain(self) -> None:
        """Run what is due now."""
        while self._calls:
            self._calls.popleft()()

    def settle(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        self.drain()
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            self.now = max(self.now, due)
            if timer.call is not None:
                timer.call()
            self.drain()
        self.now = end


class LabLink:
    """Broker and host: gives what is retained to whoever subscribes, takes every message, stores every report."""

    def __init__(self, queue: LabQueue, retained: dict[str, bytes], ledger: Ledger) -> None:
        self.connected = False
        self.connection = 1
        self.why_offline, self.issue = "", None
        self._ledger = ledger
        self.take: Callable[[str, bytes], None] = lambda _topic, _payload: None
        self.acked: Callable[[int], None] = lambda _token: None
        self._queue, self._retained = queue, retained
        self._subscribed: set[str] = set()
        self._tokens = itertools.count(1)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
        if not self.connected:
            return None
        token = next(self._tokens)
        self._queue.post(lambda: self.acked(token))
        if topic == topics.telemetry(DEVICE):
            self._ledger.note(f"received {identity(payload)}")
            self._queue.post(lambda: self.take(topics.receipt(DEVICE), self._stored(payload)))
        return token

    def _stored(self, payload: bytes) -> bytes:
        """The host's receipt for one report."""
        report = msgspec.json.decode(payload, type=Report)
        return codec.encode(Receipt((Stored(report.boot, ((report.sequence, report.sequence),)),)))

    def subscribe(self, wanted: list[str]) -> None:
        self._subscribed |= set(wanted)
        for topic in wanted:
            if self.connected and topic in self._retained:
                self._queue.post(lambda topic=topic: self._deliver(topic))

    def _deliver(self, topic: str) -> None:
        if topic in self._subscribed:
            self.take(topic, self._retained[topic])

    def unsubscribe(self, left: list[str]) -> None:
        self._subscribed -= set(left)

    def check(self) -> None:
        """It always answers."""


class LabRunner:
    """A runner that checks its files, does what it is told, and is slow if its release is called so.

    As the real one it serves without labels that are damaged, and a committed release without its golden file.
    """

    pid = 4242

    def __init__(self, job: Job, listener: Any, device: "Device") -> None:
        self._job, self._listener, self._device = job, listener, device
        self._post = device.queue.post
        self._gone = False
        self._post(self._load)

    def _load(self) -> None:
        refused = self._refused()
        if refused is not None:
            if refused.code != "device_absent":
                self._device.refusals.append(f"{self._job.release}: {refused.code}: {refused.detail}")
            self._listener.received(refused)
            self._exit("exit status 1")
            return
        self._listener.received(Loaded(1000.0, 1_000_000))
        self._listener.received(Ready(16, 0, 1.0))
        self._device.queue.after(HEARTBEAT_S, self._live)

    def _refused(self) -> Refused | None:
        if self._job.bundle.target == "edgetpu" and not self._device.accelerator:
            return Refused("device_absent", "no Edge TPU is connected")
        try:
            if self._job.runtime_dir and damaged_file(Path(self._job.runtime_dir)) is not None:
                return Refused("load_failed", "its runtime is not whole")
            for artifact in self._job.bundle.artifacts:
                if artifact.role in self._not_needed():
                    continue
                if sha256_of(Path(self._job.bundle_dir) / artifact.name) != artifact.blob.sha256:
                    return Refused("damaged", f"{artifact.name} is not what its bundle says")
        except OSError as error:
            return Refused("load_failed", str(error))
        return None

    def _not_needed(self) -> set[str]:
        return {"labels", "golden"} if self._job.committed else {"labels"}

    def _live(self) -> None:
        if not self._gone:
            self._listener.received(Heartbeat(0, 0, 0, 0, Recorder().take(), 0.0, 1, 0.0))
            self._device.queue.after(HEARTBEAT_S, self._live)

    def send(self, message: Any) -> None:
        self._post(lambda: self._follow(message))

    def kill(self) -> None:
        self._post(lambda: self._exit("killed by SIGKILL"))

    def _exit(self, how: str) -> None:
        if not self._gone:
            self._gone = True
            self._listener.exited("crashed", how)

    def _follow(self, message: Any) -> None:
        match message:
            case Accept():
                self._listener.received(Accepting())
                self._listener.received(self._heartbeat())
            case Drain():
                self._listener.received(Drained())
            case Stop():
                self._exit("exit status 0")

    def _heartbeat(self) -> Heartbeat:
        recorder = Recorder()
        for _ in range(20):
            recorder.add(SLOW_US if self._job.release in self._device.slow else QUICK_US)
        return Heartbeat(20, 0, 0, 0, recorder.take(), 0.0, 1, 0.0)


class LabProcesses:
    """Runners that are scripts, and the updater's work done here."""

    def __init__(self, device: "Device") -> None:
        self._device = device

    def start_runner(self, job: Job, listener: Any) -> LabRunner:
        return LabRunner(job, listener, self._device)

    def run_updater(self, job: Any, answer: Callable[[Any], None]) -> Callable[[], None]:
        cancelled: list[bool] = []

        def work() -> None:
            if not cancelled:
                answer(self._result(job))

        self._device.queue.post(work)
        return lambda: cancelled.append(True)

    def look_at_accelerator(self, answer: Callable[[AcceleratorLook], None]) -> None:
        found = AcceleratorLook(14) if self._device.accelerator else AcceleratorLook(14, "device_absent", "none")
        self._device.queue.post(lambda: answer(found))

    def _result(self, job: Any) -> Any:
        config = self._device.config
        try:
            trust = KeyTrust.from_file(config.trust_file, config.state_dir)
            if isinstance(job, StageJob) and job.runtime is not None:
                return performed(lambda: stage(job, trust, Room(), Tools(unpack, probe)))
            return perform(job, trust)
        except TrustError as error:
            return Refusal("rejected", error.code, str(error))


def performed(work: Callable[[], Any]) -> Any:
    """Every expected failure as an answer, as `perform` has it."""
    try:
        return work()
    except RefusedError as refused:
        return refused.refusal
    except (TrustError, WireError) as error:
        return Refusal("rejected", error.code, str(error))
    except (OSError, zipfile.BadZipFile) as error:
        return Refusal("failed", "disk", str(error))


def unpack(wheels: Path, target: Path, _scratch: Path) -> None:
    """What pip does, in this process."""
    target.mkdir()
    for path in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                (target / name).parent.mkdir(exist_ok=True)
                (target / name).write_bytes(archive.read(name))


def probe(_order: Any, found: Any, _folder: Path, title: str) -> Probe:
    """It works, unless its version says that it crashes."""
    if found.distributions[RUNTIME] == CRASHES:
        return Probe("runtime_crashed", f"SIGILL at import of {title}")
    return Probe("", title)


class LabMeters:
    """Measures nothing."""

    def samples(self, pids: list[int], duration_s: float, accelerator_s: float = 0.0) -> list[Any]:
        return []

    def active_energy(self, cpu_s: float, accelerator_s: float = 0.0) -> None:
        """Nothing."""

    def undervoltage_since(self, at: float) -> None:
        """Nobody looks."""


class Device:
    """One boot of a device on `state`. The ledger gets the reports that it keeps and those that reach the host.

    `accelerator`: its Edge TPU is connected, if its board has one.
    """

    def __init__(
        self,
        state: Path,
        publisher: Publisher,
        boot: str,
        ledger: Ledger,
        slow: frozenset[str],
        *,
        accelerator: bool = False,
    ) -> None:
        self.state, self.slow, self.accelerator = state, slow, accelerator
        self.refusals: list[str] = []
        self.queue = LabQueue()
        self.link = LabLink(self.queue, publisher.retained, ledger)
        self.config = load(state.parent / CONFIG_FILE)
        processes = LabProcesses(self)
        self.supervisor = Supervisor(self.config, self.queue, self.link, processes, LabMeters(), boot)  # type: ignore[arg-type]
        self.link.take, self.link.acked = self.supervisor.message, self.supervisor.acked
        self._note_kept(ledger)
        self.supervisor.start()
        self.queue.drain()

    def _note_kept(self, ledger: Ledger) -> None:
        """Note a report as kept once the outbox has said so."""
        outbox = self.supervisor._report_sender._outbox
        put = outbox.put

        def noted(report: bytes) -> str:
            name = put(report)
            ledger.note(f"kept {identity(report)}")
            return name

        outbox.put = noted  # type: ignore[method-assign]

    @property
    def factory(self) -> bool:
        """Whether it came with a factory release."""
        return MODEL in self.supervisor._folders.factory.models()

    @property
    def unit(self) -> Unit:
        return self.supervisor._units[MODEL]

    @property
    def serving(self) -> str | None:
        """The release that answers, None if none does."""
        services = (self.unit.candidate, self.unit.current)
        return next((self._named(s.job.release, s.job.runtime_dir) for s in services if s and s.accepting), None)

    def _named(self, release: str, runtime_dir: str) -> str:
        """With the runtime that the folder is of, as an order writes it."""
        slots = self.unit.record.slots
        every = (slots.current, slots.previous, slots.candidate, slots.superseded)
        names = {slot.runtime.folder: slot.runtime.name for slot in every if slot is not None and slot.runtime}
        folder = Path(runtime_dir).name
        return f"{release}+{names.get(folder, folder)}" if runtime_dir else release

    @property
    def current(self) -> str | None:
        """The release in the current slot, with its runtime."""
        slot = self.unit.record.slots.current
        return f"{slot.release}+{slot.runtime.name}" if slot and slot.runtime else slot.release if slot else None

    def go_online(self) -> None:
        """The broker is there."""
        self.link.connected = True
        self.supervisor.link_up()
        self.queue.settle(SETTLE_S)


def identity(raw: bytes) -> str:
    """(boot, sequence) of a report, and what it says in short: the host must never get two that differ."""
    report = msgspec.json.decode(raw, type=Report)
    return f"{report.boot}:{report.sequence}:{hashlib.sha256(raw).hexdigest()[:16]}"
