"""Commands without a running agent: reads the journals, or runs a supervisor without a broker until one order is done.

An install or rollback goes through the same update machine as always: verification, golden inputs and probation.
"""

import contextlib
import time
from collections.abc import Callable, Iterator

from skerry_agent import __version__
from skerry_agent.config import UNENROLLED, AgentConfig
from skerry_agent.deployment.children import RealProcesses
from skerry_agent.identity.recorded import recorded_identity
from skerry_agent.ports.clock import EventQueue
from skerry_agent.state.disk import locked
from skerry_agent.state.factory import FactoryFolder
from skerry_agent.state.journal import Journal
from skerry_agent.state.settings import read_settings
from skerry_agent.supervisor.local import Done, Request
from skerry_agent.supervisor.loop import Supervisor, new_boot_id, state_folder
from skerry_agent.supervisor.report import FactoryStatus, LocalStatus, recorded_report
from skerry_agent.supervisor.settings_keeper import settings_report
from skerry_agent.wire.names import is_model_name
from skerry_agent.wire.telemetry import Sample

POLL_S = 0.1


@contextlib.contextmanager
def single_instance(config: AgentConfig) -> Iterator[None]:
    """Hold the state folder's lock: two supervisors on one journal would destroy it. Raises `SkerryError`."""
    with locked(state_folder(config), f"another agent runs on {config.state_dir}"):
        yield


def recorded_status(config: AgentConfig) -> LocalStatus:
    """What the journals of a device say; nothing serves."""
    from skerry_agent.launch import files  # noqa: PLC0415 - `run` imports this module, and needs neither
    from skerry_agent.supervisor.upgrade_words import report_of  # noqa: PLC0415

    state, now, factory = config.state_dir, time.time(), FactoryFolder(config.factory_dir)
    folders = sorted({path.parent for path in (state / "models").glob("*/journal.json*")})
    read = {path.name: Journal(path / "journal.json").read() for path in folders if is_model_name(path.name)}
    record, _ = files.read(files.folder_of(state))
    identity = recorded_identity(state, enrols=config.enrolment is not None)
    return LocalStatus(
        device=(identity.device if identity else "") or config.device.id or UNENROLLED,
        connected=False,
        waiting_reports=len(list((state / "outbox").glob("*.json"))),
        models={name: recorded_report(record, now) for name, (record, _) in read.items()},
        http={},
        pids={},
        issues=tuple(damage for _, damage in read.values() if damage),
        running=False,
        factory={name: FactoryStatus(factory.release(name)) for name in {*read, *factory.models()}},
        identity=identity,
        version=record.current.version or __version__,
        upgrade=report_of(record, record.current.folder),
        settings=settings_report(read_settings(state)[0], config.own or config, config),
    )


class NoLink:
    """A link that is never up."""

    connected = False
    connection = 0
    why_offline = ""
    issue = None

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Nothing: there is no broker."""

    def subscribe(self, topics: list[str]) -> None:
        """Nothing: there is no broker."""

    def unsubscribe(self, topics: list[str]) -> None:
        """Nothing: there is no broker."""

    def renew(self) -> None:
        """Nothing: there is no connection."""

    def check(self) -> None:
        """Nothing: there is no connection."""


class _NoMeters:
    """Measures nothing: a command ends before an interval does."""

    def samples(self, pids: list[int], duration_s: float, accelerator_s: float = 0.0) -> list[Sample]:  # noqa: ARG002
        """None."""
        return []

    def active_energy(self, cpu_s: float, accelerator_s: float = 0.0) -> None:
        """None."""

    def undervoltage_since(self, at: float) -> None:
        """Nobody looks."""


def carry_out(config: AgentConfig, request: Request, watch: Callable[[LocalStatus], bool], limit_s: float) -> Done:
    """Start a supervisor without a broker, hand it a request, and end it once `watch` says that it is carried out.

    `watch` sees the status many times a second; after `limit_s` seconds it is not asked any more. Raises `SkerryError`
    when a supervisor runs there.
    """
    with single_instance(config):
        queue = EventQueue()
        processes = RealProcesses(queue.post, config.trust_file, config.state_dir)
        supervisor = Supervisor(config, queue, NoLink(), processes, _NoMeters(), new_boot_id())
        supervisor.start()
        answers: list[Done] = []
        begun = queue.monotonic()

        def look() -> None:
            late = queue.monotonic() - begun > limit_s
            if late and answers[0].ok:
                answers[0] = Done(ok=False, detail=f"not done within {limit_s:.0f} s")
            if late or not answers[0].ok or watch(supervisor.status()):
                supervisor.stop()
            else:
                queue.after(POLL_S, look)

        def hand() -> None:
            reply = supervisor.local(request)
            assert isinstance(reply, Done)
            answers.append(reply)
            look()

        queue.post(hand)
        queue.run()
        return answers[0]
