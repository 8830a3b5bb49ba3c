"""`skerry-agent selftest`: checks keys and disk, and runs each current model on its golden inputs. Needs no network."""

import os
from pathlib import Path

from msgspec import Struct

from skerry_agent.cli.slot_runtimes import runtime_dir
from skerry_agent.config import AgentConfig
from skerry_agent.deployment.children import RealProcesses
from skerry_agent.deployment.launcher import exclusive
from skerry_agent.deployment.service import KILL_GRACE_S
from skerry_agent.machine.records import Slot
from skerry_agent.ports.clock import EventQueue
from skerry_agent.ports.runner_protocol import FromRunner, Job, Ready, Refused, Stop
from skerry_agent.state.disk import DiskError
from skerry_agent.state.journal import Journal
from skerry_agent.state.slots import BundleFolders
from skerry_agent.supervisor.loop import state_folder
from skerry_agent.wire.accelerators import PROBLEMS
from skerry_agent.wire.errors import SkerryError


class DeviceCheck(Struct, frozen=True):
    """One check and its result."""

    check: str
    ok: bool
    detail: str


def selftest(config: AgentConfig, *, beside: bool = False) -> list[DeviceCheck]:
    """Run every check; never raises for what it finds.

    `beside` an agent that runs, a model on an accelerator that one process can use is left out, for it is in use.
    """
    return [_keys(config), _disk(config), *_models(config, beside=beside)]


def _keys(config: AgentConfig) -> DeviceCheck:
    from skerry_agent.trust.verification import KeyTrust  # noqa: PLC0415 - cryptography may be what is missing

    try:
        issue = KeyTrust.from_file(config.trust_file, config.state_dir).issue
    except SkerryError as error:
        return DeviceCheck("trust", ok=False, detail=str(error))
    return DeviceCheck("trust", ok=issue is None, detail=issue or str(config.trust_file))


def _disk(config: AgentConfig) -> DeviceCheck:
    folder = state_folder(config)
    free = os.statvfs(folder)
    return DeviceCheck(
        "disk", ok=os.access(folder, os.W_OK), detail=f"{free.f_bavail * free.f_frsize // 2**20} MB free"
    )


def _models(config: AgentConfig, *, beside: bool) -> list[DeviceCheck]:
    folder = state_folder(config) / "models"
    if not folder.exists():
        return []
    return [
        _model(config, path, beside=beside) for path in sorted({path.parent for path in folder.glob("*/journal.json*")})
    ]


def _model(config: AgentConfig, folder: Path, *, beside: bool) -> DeviceCheck:
    record, damage = Journal(folder / "journal.json").read()
    name = f"model {folder.name}"
    if damage:
        return DeviceCheck(name, ok=False, detail=damage)
    slot = record.slots.current
    if slot is None:
        return DeviceCheck(name, ok=True, detail="no release yet")
    if beside and exclusive(slot):
        if slot.spare is None:
            return DeviceCheck(name, ok=True, detail="not run: its accelerator is in use")
        slot = slot.on_spare()
    try:
        found = ModelTest(config, folder.name, slot).run()
        lacking = not found.ok and found.detail.partition(":")[0] in PROBLEMS
        if not lacking or slot.spare is None:
            return found
        spare = ModelTest(config, folder.name, slot.on_spare()).run()
    except (OSError, DiskError) as error:
        return DeviceCheck(name, ok=False, detail=f"{slot.release} cannot be read: {error}")
    return DeviceCheck(name, ok=spare.ok, detail=f"{spare.detail}; without the Edge TPU: {found.detail}")


class ModelTest:
    """Starts a runner without a socket, waits until it has validated the model, and ends it."""

    def __init__(self, config: AgentConfig, model: str, slot: Slot) -> None:
        folders = BundleFolders(config.state_dir / "bundles", config.factory_dir)
        self._slot, self._name = slot, f"model {model}"
        self._limit_s = config.agent.start_timeout_s
        self._queue = EventQueue()
        self._check = DeviceCheck(self._name, ok=False, detail=f"no answer within {self._limit_s:.0f} s")
        self._job = Job(
            model=model,
            release=slot.release,
            bundle_dir=str(folders.folder(slot.bundle)),
            bundle=folders.read(slot),
            engine=config.engine_for(slot.target),
            threads=config.board.usable_threads,
            runtime_dir=runtime_dir(config, slot),
        )
        self._runner = RealProcesses(self._queue.post, config.trust_file, config.state_dir).start_runner(
            self._job, self
        )

    def run(self) -> DeviceCheck:
        """What the runner found."""
        self._queue.after(self._limit_s, self._runner.kill)
        self._queue.after(self._limit_s + KILL_GRACE_S, self._queue.stop)  # one stuck in the kernel does not end
        self._queue.run()
        return self._check

    def received(self, message: FromRunner) -> None:
        """Take a message of the runner."""
        if isinstance(message, Ready):
            detail = f"{self._slot.release}: {message.samples} golden samples, at most {message.max_lsb} steps off"
            self._check = DeviceCheck(self._name, ok=True, detail=detail)
            self._runner.send(Stop())
        elif isinstance(message, Refused):
            self._check = DeviceCheck(self._name, ok=False, detail=f"{message.code}: {message.detail}")

    def exited(self, reason: str, detail: str) -> None:
        """The process has ended."""
        if not self._check.ok and "no answer" in self._check.detail:
            self._check = DeviceCheck(self._name, ok=False, detail=f"{reason}: {detail}")
        self._queue.stop()
