"""The portability rule: what the agent rests on holds on every broker: QoS 1, exact retained topics, the last will.

The brokers are listed in `brokers.KINDS`; one that is not installed is skipped and says so.
"""

import contextlib
import queue
import threading
import uuid

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from skerry_agent.supervisor.backoff import Backoff
from skerry_agent.supervisor.link import MqttLink
from skerry_agent.wire import codec, topics
from skerry_agent.wire.broker_url import BrokerUrl
from skerry_agent.wire.twin import DeviceState, Reported
from skerry_host.fleet import device as fleet
from skerry_host.plane.broker.broker import External
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, twins
from skerry_host.plane.service import Service
from tests.kit.brokers import KINDS
from tests.kit.home import make_home
from tests.kit.proxy import Fault, Proxy
from tests.kit.waiting import eventually
from tests.net.bench import Device, Host, Plane, blob, messages_of, problems, reference
from tests.net.measured import measured

DATA = blob(1_000_000)
DESIRED = topics.desired("net-device")
STATE = topics.state("net-device")
FAULTS = {"plain": Fault(), "cut": Fault(cut_at=(400_000,)), "half open": Fault(half_open_at=(400_000,))}


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.kind)
def broker(request, tmp_path_factory):
    with request.param(tmp_path_factory.mktemp(request.param.kind)) as made:
        yield made


@pytest.fixture
def host(broker):
    made = Host(broker.port)
    yield made
    made.close()


class Ear:
    """A link and what it hears, in the order in which it comes."""

    def __init__(self, port, will=b"dead"):
        self.heard = queue.SimpleQueue()
        self.up = threading.Event()
        self.acked = queue.SimpleQueue()
        address = BrokerUrl("mqtt", "127.0.0.1", port)
        self.link = MqttLink(address, "net-device", lambda _n: (STATE, will), backoff=Backoff(0.05, 0.2))
        self.link.start(lambda call: call(), self.up.set, lambda *m: self.heard.put(m), self.acked.put)
        assert self.up.wait(10)

    def next(self, patience_s=5.0):
        return self.heard.get(timeout=patience_s)

    def ask(self, topic):
        """Ask as the agent does, again when nothing comes: NATS may retain a message a moment after its PUBACK."""
        for _ in range(5):
            self.link.unsubscribe([topic])
            self.link.subscribe([topic])
            with contextlib.suppress(queue.Empty):
                return self.next(1.0)
        return None

    def silent(self, for_s=0.7):
        with pytest.raises(queue.Empty):
            self.heard.get(timeout=for_s)


@pytest.fixture
def ear(broker):
    made = Ear(broker.port)
    yield made
    made.link.stop()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_blob_arrives_through_a_window_of_exact_topics(broker, host, tmp_path, fault):
    ref = reference(DATA)
    host.retain(messages_of(DATA, ref))
    with Proxy(broker.port, fault) as proxy:
        device = Device(proxy.port, tmp_path)
        result = device.fetch(ref, 40.0)
    assert problems(device, result, ref, DATA) == []


@pytest.mark.parametrize("told", [True, False], ids=["told so", "by itself"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_blob_arrives_that_is_asked_for_because_nothing_of_it_is_retained(broker, tmp_path, fault, told):
    data = blob(1_000_000, seed=f"{fault}{told}")  # what other tests retain is of another name
    ref = reference(data)
    plane = Plane(broker.port, tmp_path / "store", data)
    with Proxy(broker.port, fault) as proxy:
        device = Device(proxy.port, tmp_path / "device", asked=told)
        result = device.fetch(ref, 40.0)
    plane.close()
    assert problems(device, result, ref, data) == []
    assert result.transports == ("asked",)


def test_what_is_wanted_is_there_for_whoever_asks_later_and_again(host, ear):
    host.retain({DESIRED: b"one"})
    assert ear.ask(DESIRED) == (DESIRED, b"one")
    assert ear.ask(DESIRED) == (DESIRED, b"one")  # because it may have been lost
    host.retain({DESIRED: b"two"})
    assert ear.next() == (DESIRED, b"two")
    ear.link.unsubscribe([DESIRED])
    ear.silent()  # until the broker has heard it
    host.retain({DESIRED: b"three"})
    ear.silent()


def test_what_was_cleared_is_gone(host, ear):
    topic = topics.chunk("c" * 64, 0)
    host.retain({topic: b"chunk"})
    host.retain({topic: b""})
    ear.link.subscribe([topic])
    ear.silent()


def test_the_will_is_heard_when_a_device_is_cut_off_and_retained(broker, host):
    with Proxy(broker.port, Fault(cut_at=(1000,))) as proxy:
        cut_off = Ear(proxy.port, will=b"died")
        cut_off.link._backoff = Backoff(60.0, 60.0)  # it stays away
        cut_off.link.publish(STATE, b"born", retain=True)
        cut_off.acked.get(timeout=5)
        heard, watcher = _watch(broker.port, STATE)
        assert heard.get(timeout=5) == b"born"
        host.retain({DESIRED: bytes(2000)})
        cut_off.link.subscribe([DESIRED])  # what comes of it is cut
        assert heard.get(timeout=10) == b"died"
        watcher.disconnect()
        late, second = _watch(broker.port, STATE)
        assert late.get(timeout=5) == b"died"
        second.disconnect()
        cut_off.link.stop()


def test_it_passes_on_messages_as_large_as_chunks_and_digest_lists(broker):
    assert measured(broker.port) is None


def test_every_report_is_acknowledged(ear):
    tokens = {ear.link.publish(topics.telemetry("net-device"), b"x" * 500) for _ in range(100)}
    assert {ear.acked.get(timeout=5) for _ in tokens} == tokens


def test_a_plane_that_comes_later_hears_what_devices_said_before(broker, host, tmp_path):
    """It has never been there: no queue of the broker holds anything for it."""
    home, boot = make_home(tmp_path / "home"), uuid.uuid4().hex
    said = Reported("early-01", boot, 1, 7, "1.0", "generic-x86", ("cpu",))
    host.retain({topics.state("early-01"): codec.encode(DeviceState("early-01", boot, 2, online=True))})
    host.retain({topics.reported("early-01"): codec.encode(said)})
    with open_registry(home.registry) as registry:
        with registry.write() as session:
            devices.add(session, fleet.Device("early-01", "generic-x86", targets=("cpu",)), 1.0)
        with Service(home, registry, External(f"mqtt://127.0.0.1:{broker.port}")) as plane:
            turning = threading.Thread(target=plane.run)
            turning.start()

            def heard():
                with registry.read() as session:
                    twin = twins.find(session, "early-01")
                return twin.online and twin.reported is not None and twin.reported.generation == 7

            try:
                eventually(heard, "the plane has heard of the device", 10.0)
            finally:
                plane.stop()
                turning.join()


def _watch(port, topic):
    heard = queue.SimpleQueue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, f"watcher-{id(heard)}", clean_session=True)
    client.on_connect = lambda *_: client.subscribe(topic, 1)
    client.on_message = lambda _c, _d, message: heard.put(message.payload)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return heard, client
