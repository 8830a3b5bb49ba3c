"""What must be true of a device after any fault: it serves at once, finishes what was ordered, and lost no report."""

from collections import Counter
from pathlib import Path

from skerry_agent.ports.jobs import FactoryJob, FactoryReady
from skerry_agent.trust.verification import KeyTrust
from skerry_agent.updater.perform import perform
from tests.lab.device import Device
from tests.lab.ledger import Ledger
from tests.lab.materials import MODEL
from tests.lab.scenarios import PreparedScenario

NO_DAMAGE = ("serves its factory release", "runs without the Edge TPU")
AT_ONCE_S = 2.0
"""A device serves within this: a runner that failed once is started again after half a second."""

EXCHANGE_S = 0.5
"""On an accelerator for one process the old runner has gone before the new one answers, and we may look just then."""


def recover(stage: PreparedScenario, state: Path, ledger: Ledger, *, damaged: bool = False, bare: bool = False) -> None:
    """Boot again, without a network and then with one; note every invariant that is broken.

    `damaged` says that the fault may have changed content on the disk: then saying so is right, and only then. `bare`:
    it hit all that could serve, so that nothing does before there is a network.
    """
    offline = []
    for start in range(2 if damaged else 1):  # what damage costs may show only when the device has started once on it
        device = stage.boot(state, ledger, f"recovered{stage.boots}.{start}")
        device.queue.settle(AT_ONCE_S)
        if stage.scenario.accelerator and device.serving is None:
            device.queue.settle(EXCHANGE_S)
        offline += [*_serves(stage, device, bare=bare), *([] if damaged else _intact(device))]
    device.queue.settle(60.0)
    device.go_online()
    online = [*_finished(stage, device, damaged=damaged), *_clean(device, damaged=damaged)]
    for broken in (*offline, *online, *_reports(ledger)):
        ledger.note(f"broken {broken}")


def _serves(stage: PreparedScenario, device: Device, *, bare: bool) -> list[str]:
    """Whoever had a model has one now, before any network; and who has none for once, says so."""
    if bare and device.serving is None:
        said = device.supervisor._issues() or device.unit.active  # or it waits for what has been ordered
        return [] if said else ["serves nothing offline, and does not say so"]
    if stage.scenario.serves and device.serving is None:
        return [f"serves nothing offline; {device.unit.record.state}, current {device.current}"]
    if device.serving not in {None, *stage.scenario.serves, *stage.scenario.final}:
        return [f"serves {device.serving}"]
    return []


def _intact(device: Device) -> list[str]:
    """A crash damages nothing, so nothing may be found damaged."""
    issues = [issue for issue in device.supervisor._issues() if not any(words in issue for words in NO_DAMAGE)]
    return [f"found damage: {what}" for what in (*device.refusals, *issues)]


def _finished(stage: PreparedScenario, device: Device, *, damaged: bool) -> list[str]:
    record = device.unit.record
    ends = (*stage.scenario.final, *(stage.scenario.final_if_damaged if damaged else ()))
    if device.current in ends and device.serving == device.current and record.state == "idle":
        return []
    deployment = record.deployment
    how = f"{deployment.outcome} {deployment.reason} {deployment.detail}" if deployment else "no deployment"
    return [f"ends on {device.current}, serving {device.serving}, {record.state}: {how}"]


def _clean(device: Device, *, damaged: bool) -> list[str]:
    """Nothing is left that no slot needs."""
    slots = device.unit.record.slots
    own = [slot for slot in (slots.current, slots.previous, slots.candidate) if slot and not slot.factory]
    held = {folder for slot in own for folder in slot.folders}
    there = {path.name for path in (device.state / "bundles").iterdir()}
    wrong = [] if there == held else [f"bundles {sorted(there)}, held {sorted(held)}"]
    every = (slots.current, slots.previous, slots.candidate)
    runtimes = {slot.runtime.folder for slot in every if slot is not None and slot.runtime}
    installed = {path.name for path in (device.state / "runtimes").glob("*")}
    wrong += [] if installed == runtimes else [f"runtimes {sorted(installed)}, held {sorted(runtimes)}"]
    wrong += [f"left over: blobs/{path.name}" for path in (device.state / "blobs").iterdir()]
    wrong += [f"left over: outbox/{path.name}" for path in (device.state / "outbox").glob("*.json*")]
    wrong = [line for line in wrong if not (damaged and ".damaged" in line)]
    return wrong + (_factory(device) if device.factory and not damaged else [])


def _factory(device: Device) -> list[str]:
    """Whole, the old one or the new one, at every instant."""
    folder = device.config.factory_dir / MODEL
    trust = KeyTrust.from_file(device.config.trust_file, device.config.state_dir)
    answer = perform(FactoryJob(MODEL, str(folder), ("cpu",)), trust)
    return [] if isinstance(answer, FactoryReady) else [f"the factory release is not whole: {answer}"]


def _reports(ledger: Ledger) -> list[str]:
    """Every report that was kept has reached the host, and no two of one number differ."""
    kept, received = set(ledger.lines("kept")), set(ledger.lines("received"))
    numbers = Counter(line.rpartition(":")[0] for line in received)
    lost = [f"report {line} was kept and lost" for line in sorted(kept - received)]
    return lost + [f"report {number} came with two contents" for number, count in numbers.items() if count > 1]
