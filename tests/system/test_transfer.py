"""How a release reaches a real device: over HTTP beside MQTT, in its hours, given up half-way; nothing stays behind."""

import time

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.kit.brokers import LimitedRetention
from tests.kit.commands import serving, skerry
from tests.kit.waiting import eventually
from tests.system.fleet import FIRST, SECOND, await_end, outcomes, provision_installed, start_rollout

pytestmark = pytest.mark.system


@pytest.fixture
def over(home, installed, tmp_path):
    """A way to have a plane with some options, and a device that runs on it."""
    opened = []

    def begin(*options):
        plane = serving(home, "--port", "0", "--no-http", *options)
        running = plane.__enter__()
        opened.append((plane.__exit__, (None, None, None)))
        device = provision_installed(home, running.broker, installed, tmp_path / "device")
        opened.append((device.kill, ()))
        device.start()
        device.await_serving(FIRST)
        return running, device

    yield begin
    for close, arguments in reversed(opened):
        close(*arguments)


def retained_blobs(plane, wait_s=1.0):
    """Topics of chunks that the broker still holds."""
    found = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _c, _d, message: found.append(message.topic)
    client.on_connect = lambda *_: client.subscribe("skerry/v1/blob/#", 1)
    client.connect("127.0.0.1", int(plane.broker.rsplit(":", 1)[1]))
    client.loop_start()
    time.sleep(wait_s)
    client.disconnect()
    client.loop_stop()
    return found


@pytest.mark.parametrize(
    ("where", "ways"),
    [(("--blobs", "127.0.0.1:0"), "http"), (("--blobs-url", "http://127.0.0.1:9/blobs"), "retained")],
)
def test_blobs_over_http_and_by_chunks_where_it_does_not_answer(home, over, where, ways):
    plane, device = over(*where)
    view = await_end(home, start_rollout(home, SECOND, device.id))
    assert outcomes(view) == {("succeeded", "")}
    assert [d["ways"] for d in view["deployments"]] == [ways]
    device.await_serving(SECOND)
    eventually(lambda: not retained_blobs(plane), "the chunks are cleared")


def test_chunks_are_asked_for_where_none_are_retained_and_everybody_sees_it(home, over):
    plane, device = over("--retained", "0")
    view = await_end(home, start_rollout(home, SECOND, device.id))
    assert outcomes(view) == {("succeeded", "")}
    assert [d["ways"] for d in view["deployments"]] == ["asked"]
    assert device.await_serving(SECOND)["models"]["fashion"]["deployment"]["ways"] == ["asked"]
    assert "by MQTT on request" in skerry(home, "device", "show", device.id).stdout
    assert not retained_blobs(plane)


def test_a_broker_that_takes_no_chunks_is_found_out(home, installed, tmp_path):
    """Nobody was told: the plane retains them as ever, and the broker acknowledges and drops them."""
    with (
        LimitedRetention(tmp_path / "broker") as broker,
        serving(home, "--broker", f"mqtt://127.0.0.1:{broker.port}", "--no-http") as plane,
    ):
        device = provision_installed(home, plane.broker, installed, tmp_path / "device")
        try:
            device.start()
            device.await_serving(FIRST)
            view = await_end(home, start_rollout(home, SECOND, device.id))
        finally:
            device.kill()
    assert outcomes(view) == {("succeeded", "")}
    assert [d["ways"] for d in view["deployments"]] == ["asked"]


def test_a_rollout_that_waits_for_its_hour_is_seen_and_withdrawn(home, over):
    plane, device = over()
    now = time.localtime()
    hours = f"{(now.tm_hour + 3) % 24:02}:00-{(now.tm_hour + 4) % 24:02}:00"
    done = skerry(home, "rollout", "start", SECOND, "--device", device.id, "--hours", hours, "--json")
    rollout = done.stdout.split('"rollout": "')[1].split('"')[0]

    def waits():
        deployment = (device.status() or {}).get("models", {}).get("fashion", {}).get("deployment") or {}
        return deployment.get("detail", "").startswith("waiting until") and deployment["outcome"] is None

    eventually(waits, "the device says what it waits for")
    assert "waiting until" in device.command("status").stdout
    skerry(home, "rollout", "abort", rollout)
    assert {outcome for outcome, _ in outcomes(await_end(home, rollout))} == {"cancelled"}
    eventually(lambda: device.record().deployment.outcome == "cancelled", "the device gives it up")
    device.await_serving(FIRST)
    eventually(lambda: not retained_blobs(plane), "the chunks are cleared")
