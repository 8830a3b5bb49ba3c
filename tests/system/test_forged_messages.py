"""Forged messages of devices, through a real broker without access rules, while rollouts go on.

Cases T1 and T2 of the threat table: whatever is said, nothing is signed that was not ordered.
With `SKERRY_FORGED=1000` in the environment it forges as many messages as the table says; without, a sample.
"""

import os
import secrets
import time
from contextlib import ExitStack

import pytest
from sqlalchemy import select

from skerry_agent.wire import codec, topics
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.twin import Command, Desired
from skerry_host.fleet.device import Device
from skerry_host.fleet.policy import Policy
from skerry_host.fleet.rollout import ENDED
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import alarms, devices, rollouts, twins
from skerry_host.plane.registry.tables import DeploymentRow
from skerry_host.plane.rollouts.intake import RolloutRequest, abort_rollout, start_rollout
from skerry_host.release import keys
from skerry_host.release.store import Store
from tests.kit.brokers import Mosquitto
from tests.kit.device import BrokerPort, FakeDevice
from tests.kit.forger import Forger
from tests.kit.home import add_release, make_home, model_bytes
from tests.kit.plane import served
from tests.kit.waiting import BUSY, eventually

pytestmark = pytest.mark.system
FORGED = int(os.environ.get("SKERRY_FORGED", "200"))
ROLLOUTS = 10
NAMES = ("dev-1", "dev-2", "dev-3", "dev-4")
RELEASES = tuple(f"fashion@1.{n}.0" for n in range(ROLLOUTS))
PATIENCE_S = 0.4 if FORGED <= 200 else 2.0


class Fleet:
    """A home with ten releases and four devices, a broker, and a record of all that was signed."""

    def __init__(self, folder, broker):
        self.home, self.broker = make_home(folder / "home"), broker
        for name in RELEASES:
            add_release(self.home, name.partition("@")[2], model_bytes(name, 3000))
        self.store, self.registry = Store(self.home.store), open_registry(self.home.registry)
        with self.registry.write() as session:
            for name in NAMES:
                devices.add(session, Device(name, "generic-x86", targets=("cpu",)), 1.0)
        self.devices = [FakeDevice(name, BrokerPort(f"mqtt://127.0.0.1:{broker.port}")) for name in NAMES]

    def start(self, release):
        with self.registry.write() as session:
            for name in NAMES:
                alarms.end(session, name, 1.0)  # else nothing would be begun, and so nothing signed
            request = RolloutRequest(self.store.release(release), devices.all_devices(session), "all", Policy())
            return start_rollout(session, request, 1.0)

    def abort(self, rollout):
        with self.registry.write() as session:
            if rollouts.find(session, rollout).state not in ENDED:
                abort_rollout(session, rollout, 1.0)
        eventually(lambda: self.has_ended(rollout), "the rollout is aborted")

    def has_ended(self, rollout):
        with self.registry.read() as session:
            return rollouts.find(session, rollout).state in ENDED

    def wanted(self):
        """The release that each device is to run."""
        with self.registry.read() as session:
            found = {name: twins.find(session, name).assignment("fashion") for name in NAMES}
        return {name: each.release if each else None for name, each in found.items()}

    def succeeded(self, device):
        """The release that succeeded last on a device, by the host's record."""
        with self.registry.read() as session:
            mine = (DeploymentRow.device == device, DeploymentRow.outcome == "succeeded")
            newest = select(DeploymentRow.release).where(*mine).order_by(DeploymentRow.sent.desc())
            return session.scalars(newest.limit(1)).first()

    def outcomes(self, rollout):
        with self.registry.read() as session:
            return [row.outcome for row in rollouts.deployments(session, rollout)]


@pytest.fixture
def fleet(tmp_path):
    with Mosquitto(tmp_path / "broker") as broker:
        made = Fleet(tmp_path, broker)
        yield made
        made.registry.close()


def orders(fleet, forger):
    """Every order that is on the wire now: all of them signed by this host."""
    keyid = keys.load(fleet.home.keys, "director").keyid
    for topic, raw in list(forger.heard.items()):
        if topic.endswith(("/desired", "/command")) and raw:
            envelope = codec.decode(raw, Envelope)
            assert envelope.signatures[0].keyid == keyid
            yield codec.decode(envelope.payload, Desired if topic.endswith("/desired") else Command)


def words(fleet):
    """Everything that would be of use to a forger."""
    refs = [fleet.store.manifest_ref(name).sha256 for name in RELEASES]
    return (*NAMES, *RELEASES, "fashion@9.9.9", "other@1.0.0", *refs, "f" * 64, "@plane", "dev-9", secrets.token_hex(8))


def test_a_thousand_forged_messages_and_ten_rollouts_sign_nothing_that_was_not_ordered(fleet):
    """Cases T1 and T2 of the threat table."""
    with ExitStack() as stack:
        forger = Forger(fleet.broker.port, words(fleet))
        stack.callback(forger.close)
        service = stack.enter_context(served(fleet.home, fleet.registry, fleet.broker.port))
        for device in fleet.devices:
            stack.enter_context(device)
        eventually(lambda: len([t for t in forger.heard if t.endswith("/state")]) == len(NAMES), "they are born")
        ended = []
        for release in RELEASES:
            before, started = fleet.wanted(), fleet.start(release)
            for _ in range(4):
                forger.forge(FORGED // ROLLOUTS // 4)
                for device in fleet.devices:
                    device.telemetry()
                _look(fleet, forger, before, release)
            _wait(fleet, started)
            fleet.abort(started)
            _look(fleet, forger, before, release)
            ended += fleet.outcomes(started)
        assert forger.count >= FORGED * 0.9
        assert service.counters().messages["malformed"] > 0, "it was an attack"
        assert ended.count("succeeded") >= ROLLOUTS // 2, "rollouts went on all the same"
    _goes_on(fleet)


def _wait(fleet, rollout):
    """A while, longer where the machine is busy: a device that was muted in this rollout does not end it."""
    began = time.monotonic()
    while not fleet.has_ended(rollout):
        waited_s = time.monotonic() - began
        if waited_s > BUSY or (waited_s > PATIENCE_S and any(fleet.outcomes(rollout))):
            return
        time.sleep(0.02)


def _look(fleet, forger, before, release):
    """What is signed now is what was ordered last, or what was wanted before it: nothing else, and nothing older.

    Where what was wanted before has failed by the device's own word, it is what succeeded there last.
    """
    for device, wanted in fleet.wanted().items():
        assert wanted in {release, before[device], fleet.succeeded(device), None}
    for order in orders(fleet, forger):
        assert isinstance(order, Desired), "no command was ordered"
        for assigned in order.assignments:
            assert assigned.release in RELEASES[: RELEASES.index(release) + 1]
            assert assigned.manifest == fleet.store.manifest_ref(assigned.release)
    with fleet.registry.read() as session:
        assert None not in set(session.scalars(select(DeploymentRow.rollout))), "nothing was adopted"


def _goes_on(fleet):
    """Whatever the registry holds after the attack: a plane starts on it, and devices that start anew are heard."""
    fleet.registry.close()
    fleet.registry = open_registry(fleet.home.registry)
    with ExitStack() as stack:
        stack.enter_context(served(fleet.home, fleet.registry, fleet.broker.port))
        for device in fleet.devices:
            stack.enter_context(device)
        started = fleet.start(RELEASES[-1])
        eventually(lambda: fleet.has_ended(started), "a rollout after the attack")
        assert fleet.outcomes(started) == ["succeeded"] * len(NAMES)
        assert set(fleet.wanted().values()) == {RELEASES[-1]}


def alarmed(fleet):
    with fleet.registry.read() as session:
        return alarms.devices(session, alarms.TAMPERING)


def test_an_order_that_is_cleared_on_the_broker_is_there_again_at_once(fleet):
    """With a real broker: the plane hears its own retained messages, too, and makes no loop of it."""
    topic = topics.desired("dev-1")
    with ExitStack() as stack:
        forger = Forger(fleet.broker.port, words(fleet))
        stack.callback(forger.close)
        stack.enter_context(served(fleet.home, fleet.registry, fleet.broker.port))
        for device in fleet.devices[:1]:
            stack.enter_context(device)
        fleet.start(RELEASES[0])
        eventually(lambda: forger.heard.get(topic), "it is ordered")
        eventually(lambda: fleet.devices[0].current == RELEASES[0], "it is installed")
        ours = forger.heard[topic]
        forger.say(topic, b"")
        eventually(lambda: alarmed(fleet) == {"dev-1"}, "it is told")
        eventually(lambda: forger.heard[topic] == ours, "it is put right")
