"""`skerry-agent doctor`: checks this device and prints one line per check. Changes nothing and loads no model.

`selftest` runs the models; this checks what they depend on: clock, disk, keys, runtimes, journals, broker.
"""

import os
import shutil
import tempfile
import time
from pathlib import Path

from skerry_agent.cli.claim_check import check_claim, has_claim
from skerry_agent.cli.identity import comes_old_way
from skerry_agent.cli.selftest import DeviceCheck
from skerry_agent.cli.slot_runtimes import current_slots, runtime_dir
from skerry_agent.cli.standalone import recorded_status
from skerry_agent.cli.status_lines import identity_text, upgrade_text
from skerry_agent.config import AgentConfig
from skerry_agent.ports.clock import PLAUSIBLE_WALL_S
from skerry_agent.ports.jobs import FactoryJob, FactoryReady
from skerry_agent.ports.probe import Probe, probe
from skerry_agent.ports.runner_protocol import DirectorySource
from skerry_agent.state.blobs import RESERVE_BYTES
from skerry_agent.supervisor.local import LocalError, SilentError, Status, StatusRequest, ask
from skerry_agent.supervisor.report import LocalStatus
from skerry_agent.wire.engines import EngineName
from skerry_agent.wire.errors import SkerryError

LATEST_PLAUSIBLE_S = PLAUSIBLE_WALL_S + 30 * 365.25 * 86400


def doctor(config: AgentConfig) -> list[DeviceCheck]:
    """Run every check; never raises for what it finds."""
    agent, status = _agent(config)
    known = status or recorded_status(config)
    return [
        agent,
        DeviceCheck("config", ok=config.issue is None, detail=config.issue or config.file),
        _clock(time.time()),
        _disk(config.state_dir),
        _trust(config),
        *_upgrade(known),
        *_identity(config, known, time.time()),
        *(_runtime(config.engine_for(target)) for target in config.board.targets),
        *_slot_runtimes(config),
        _broker(config, status, known, alone=status is None and agent.ok),
        *_sources(config),
        *_models(known),
        *_factory(config, known),
    ]


def _agent(config: AgentConfig) -> tuple[DeviceCheck, LocalStatus | None]:
    """Whether the agent runs and answers, and then what it says."""
    try:
        reply = ask(config.state_dir, StatusRequest())
    except LocalError:
        return DeviceCheck("agent", ok=True, detail="not running: `skerry-agent run` starts it"), None
    except SilentError as error:
        return DeviceCheck("agent", ok=False, detail=str(error)), None
    if isinstance(reply, Status):
        place = f"; its log: {reply.status.log}" if reply.status.log else ""
        return DeviceCheck("agent", ok=True, detail=f"running{place}"), reply.status
    return DeviceCheck("agent", ok=False, detail=reply.detail), None


def _upgrade(status: LocalStatus) -> list[DeviceCheck]:
    """What became of the latest upgrade of the agent; nothing of a device that never had one."""
    upgrade = status.upgrade
    if upgrade is None or not upgrade.release:
        return []
    ok = upgrade.outcome in {None, "succeeded"}
    return [DeviceCheck("upgrade", ok=ok, detail=f"agent {status.version}, {upgrade_text(upgrade)}")]


def _clock(now: float) -> DeviceCheck:
    shown = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    if PLAUSIBLE_WALL_S < now < LATEST_PLAUSIBLE_S:
        return DeviceCheck("clock", ok=True, detail=shown)
    return DeviceCheck(
        "clock", ok=False, detail=f"{shown} cannot be right: set the clock, or start time synchronisation"
    )


def _disk(state: Path) -> DeviceCheck:
    """A file can be written and synced, and there is room above the reserve."""
    existing = next(path for path in (state, *state.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    try:
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(bytes(4096))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return DeviceCheck("disk", ok=False, detail=f"{existing} cannot be written: {error.strerror}")
    room = f"{free // 2**20} MB free in {existing}"
    if free < RESERVE_BYTES:
        return DeviceCheck(
            "disk", ok=False, detail=f"{room}, at least {RESERVE_BYTES // 2**20} MB are needed: remove files"
        )
    return DeviceCheck("disk", ok=True, detail=room)


def _trust(config: AgentConfig) -> DeviceCheck:
    try:
        from skerry_agent.trust.verification import KeyTrust  # noqa: PLC0415 - cryptography may be what is missing

        issue = KeyTrust.from_file(config.trust_file, config.state_dir).issue
    except (SkerryError, ImportError) as error:
        return DeviceCheck("trust", ok=False, detail=str(error))
    return DeviceCheck("trust", ok=issue is None, detail=issue or f"keys in {config.trust_file}")


def _identity(config: AgentConfig, status: LocalStatus, now: float) -> list[DeviceCheck]:
    """Whether the host knows this device, and for how long; nothing of one that was provisioned without."""
    identity = status.identity
    if identity is None:
        return []
    if identity.state == "none" and not status.running and has_claim(config):
        return [DeviceCheck("identity", ok=True, detail="none yet: `skerry-agent run` enrols this device by its claim")]
    ended = identity.until is not None and PLAUSIBLE_WALL_S < now > identity.until
    over = ended and not status.connected  # the broker has taken it just now: then the clock here is wrong
    moves = status.connected and identity.state in {"asking", "pending"}  # and goes on the old way meanwhile
    ok = moves or (identity.state == "enrolled" and not over)
    words, expired = identity_text(identity), ": it has expired, a running agent renews it" if over else ""
    return [DeviceCheck("identity", ok=ok, detail=f"{words}{expired}")]


def _factory(config: AgentConfig, status: LocalStatus) -> list[DeviceCheck]:
    """Verify every factory release; having none is not a failure."""
    none = "none: if no other release is intact, the device waits for its next order"
    return [
        _verified(config, name) if found.release is not None else DeviceCheck(f"factory {name}", ok=True, detail=none)
        for name, found in sorted(status.factory.items())
    ]


def _verified(config: AgentConfig, model: str) -> DeviceCheck:
    try:
        from skerry_agent.trust.verification import KeyTrust  # noqa: PLC0415 - cryptography may be what is missing
        from skerry_agent.updater.perform import perform  # noqa: PLC0415

        job = FactoryJob(model, str(config.factory_dir / model), config.board.targets)
        answer = perform(job, KeyTrust.from_file(config.trust_file, config.state_dir))
    except (SkerryError, ImportError) as error:
        return DeviceCheck(f"factory {model}", ok=False, detail=str(error))
    if isinstance(answer, FactoryReady):
        return DeviceCheck(
            f"factory {model}", ok=True, detail=f"{answer.slot.release} for {answer.slot.target}, verified"
        )
    return DeviceCheck(f"factory {model}", ok=False, detail=getattr(answer, "detail", "no answer"))


def _runtime(engine: EngineName) -> DeviceCheck:
    """Ask the runtime in a process of its own: a broken one may end the process that loads it."""
    return _probed(f"runtime {engine}", probe(engine))


def _slot_runtimes(config: AgentConfig) -> list[DeviceCheck]:
    """The runtimes beside the base environment's, each as the model that runs with it loads it."""
    checks = []
    for model, slot in sorted(current_slots(config).items()):
        if slot.runtime is None:
            continue
        name = f"runtime {slot.runtime.name} of {model}"
        folder = runtime_dir(config, slot)
        if not folder:
            gone = "it is not on this device any more, or for another Python: the base environment's stands in"
            checks.append(DeviceCheck(name, ok=False, detail=gone))
        else:
            checks.append(_probed(name, probe(config.engine_for(slot.target), (), folder, slot.runtime.name)))
    return checks


def _probed(name: str, found: Probe) -> DeviceCheck:
    return DeviceCheck(name, ok=not found.reason, detail=found.detail)


def _broker(config: AgentConfig, status: LocalStatus | None, known: LocalStatus, *, alone: bool) -> DeviceCheck:
    """As the running agent sees it; else whether it takes this device, or its claim. One that is silent runs, too."""
    where = config.broker_address
    name = where.place
    if status is None and known.identity is not None and known.identity.state != "enrolled":
        no_claim = False, f"{name}: this device has to enrol first"
        ok, detail = check_claim(config) if has_claim(config) else no_claim
        return DeviceCheck("broker", ok=ok, detail=detail)
    if status is not None and status.connected:
        moves = config.before is not None and comes_old_way(config)
        detail = f"connected, and moves to {name}" if moves else f"connected to {name}"
        return DeviceCheck("broker", ok=True, detail=detail)
    if status is not None and status.why_offline:
        return DeviceCheck("broker", ok=False, detail=f"no connection to {name}: {status.why_offline}")
    from skerry_agent.cli.security import security_of  # noqa: PLC0415 - it imports ssl
    from skerry_agent.supervisor.link_check import try_to_connect  # noqa: PLC0415 - it imports paho

    problem = try_to_connect(where, known.device, security_of(config), alone=alone)
    if problem is not None:
        return DeviceCheck("broker", ok=False, detail=f"no connection to {name}: {problem}")
    if status is not None:
        return DeviceCheck("broker", ok=False, detail=f"{name} answers, but the agent is not connected yet")
    return DeviceCheck("broker", ok=True, detail=f"{name} answers and takes this device")


def _sources(config: AgentConfig) -> list[DeviceCheck]:
    """Where a model's samples come from; a watched folder is made when its runner starts."""
    paths = [(n, s.path) for n in config.models for s in config.sources(n) if not isinstance(s, DirectorySource)]
    return [
        DeviceCheck(
            f"source of {name}",
            ok=Path(path).exists(),
            detail=path if Path(path).exists() else f"{path} does not exist",
        )
        for name, path in paths
    ]


def _models(status: LocalStatus) -> list[DeviceCheck]:
    where = "issue" if status.running else "journal"
    checks = [DeviceCheck(where, ok=False, detail=issue) for issue in status.issues]
    for name, model in sorted(status.models.items()):
        release = model.current.release if model.current else "no release"
        ok = model.serving or not status.running or model.current is None
        how = "serving" if model.serving else "not serving" if status.running else "according to its journal"
        checks.append(DeviceCheck(f"model {name}", ok=ok, detail=f"{release}, {how}"))
    return checks
