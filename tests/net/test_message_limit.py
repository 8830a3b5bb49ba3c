"""Real brokers that pass on no message as large as a chunk: found out at once, told, and followed by the chunks.

mosquitto drops such a message and acknowledges it; nats-server and rumqttd end the connection.
"""

import subprocess
import sys
import threading

import msgspec
import pytest

from skerry_host.fleet.device import Device as Enrolled
from skerry_host.fleet.policy import Policy
from skerry_host.plane.broker.probe import EXTRA_BYTES, SIZES, SMALL_BYTES, Probe
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, rollouts
from skerry_host.plane.rollouts.intake import RolloutRequest, start_rollout
from tests.kit.brokers import Embedded, LimitedRetention, Mosquitto, Nats
from tests.kit.device import BrokerPort, FakeDevice
from tests.kit.home import add_release, make_home, model_bytes
from tests.kit.plane import served
from tests.kit.waiting import eventually
from tests.net.measured import measured

LIMIT = 40_000


class NarrowMosquitto(Mosquitto):
    def __init__(self, folder):
        super().__init__(folder)
        self._conf.write_text(f"{self._conf.read_text()}message_size_limit {LIMIT}\n")


class NarrowNats(Nats):
    def __init__(self, folder):
        super().__init__(folder)
        conf = folder / "nats.conf"
        conf.write_text(conf.read_text().replace("max_payload: 1MB", f"max_payload: {LIMIT}"))


class NarrowEmbedded(Embedded):
    def spawn(self):
        options = {"listen": "127.0.0.1", "port": self.port, "max_payload_size": LIMIT, "max_inflight_count": 1000}
        command = [sys.executable, "-m", "iotcore._serve", msgspec.json.encode(options).decode()]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


NARROW = (NarrowMosquitto, NarrowNats, NarrowEmbedded)


@pytest.mark.parametrize("kind", NARROW, ids=lambda kind: kind.kind)
def test_the_largest_chunk_that_passes_is_found_out(tmp_path, kind):
    with kind(tmp_path / "broker") as broker:
        assert measured(broker.port) == 32768


class Loop:
    """A broker without a network: what it does with a message is `does`, (whether it takes it, what it delivers)."""

    def __init__(self, does):
        self._does, self.sizes = does, []
        self.probe = Probe("a/b", self.send, 0.05)

    def send(self, _topic, payload):
        self.sizes.append(len(payload))
        taken, delivered = self._does(payload)
        for each in delivered:
            self.probe.heard(each)
        return taken


def over(limit, *, taken):
    return lambda payload: (taken, []) if len(payload) > limit else (True, [payload])


@pytest.mark.parametrize("taken", [True, False], ids=["dropped and acknowledged", "the connection ends"])
@pytest.mark.parametrize(("limit", "chunk"), [(10**6, None), (66_000, 65536), (65_600, 32768), (1500, 1024), (100, 0)])
def test_the_largest_that_passes(limit, chunk, taken):
    assert Loop(over(limit, taken=taken)).probe.measure() == chunk


def test_where_nothing_comes_back_nothing_is_assumed(tmp_path):
    silent = Loop(lambda _payload: (True, []))
    assert silent.probe.measure() is None
    assert len(silent.sizes) == 2
    with LimitedRetention(tmp_path / "broker") as broker:
        assert measured(broker.port) is None


def test_a_slow_link_is_no_limit():
    """What comes late comes in order: the small message behind the large one says that all is there."""
    waiting = []

    def slow(payload):
        waiting.append(payload)
        if len(waiting) % 2 == 0:
            threading.Timer(0.04, lambda: [loop.probe.heard(each) for each in waiting[-2:]]).start()
        return True, []

    loop = Loop(slow)
    assert loop.probe.measure() is None
    assert loop.sizes == [SIZES[0], SMALL_BYTES]


def test_a_connection_that_is_lost_once_is_no_limit():
    lost = [True]

    def once(payload):
        return (False, []) if lost and lost.pop() else (True, [payload])

    assert Loop(once).probe.measure() is None


def test_what_was_sent_before_a_restart_is_no_answer():
    loop = Loop(over(40_000, taken=True))
    loop.probe.heard(bytes(SIZES[0]))
    assert loop.probe.measure() == 32768
    assert SIZES[-1] - EXTRA_BYTES == 1024


def start(registry, release, now):
    with registry.write() as session:
        request = RolloutRequest(release, devices.all_devices(session), "all", Policy())
        return start_rollout(session, request, now)


def test_a_rollout_of_larger_chunks_ends_at_once_with_the_reason_and_smaller_ones_arrive(tmp_path):
    home = make_home(tmp_path / "home")
    large = add_release(home, "1.0.0", model_bytes("m", 200_000))
    small = add_release(home, "1.0.1", model_bytes("n", 200_000), chunk_bytes=32768)
    with NarrowMosquitto(tmp_path / "broker") as broker, open_registry(home.registry) as registry:
        with registry.write() as session:
            devices.add(session, Enrolled("dev-1", "generic-x86", targets=("cpu",)), 1.0)

        def end(rollout):
            with registry.read() as session:
                row = rollouts.deployments(session, rollout)[0]
            return (row.outcome, row.reason, row.detail) if row.outcome else None

        url = f"mqtt://127.0.0.1:{broker.port}"
        with served(home, registry, broker.port) as plane, FakeDevice("dev-1", BrokerPort(url)):
            first = start(registry, large, 1.0)
            eventually(lambda: end(first), "it ends")
            assert end(first)[:2] == ("failed", "broker_limit")
            assert "messages of 65536 bytes, the broker passes on 32768" in end(first)[2]
            assert home.chunk_limit.read_text() == "32768\n"
            epoch = plane.link.epoch
            second = start(registry, small, 2.0)
            eventually(lambda: end(second), "it ends")
            assert end(second)[0] == "succeeded"
            assert plane.link.epoch == epoch
