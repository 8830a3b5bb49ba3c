"""Results of a real agent: to the broker only where agent.toml asks for it, and a file that stays bounded."""

import json
import queue
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.kit.waiting import eventually
from tests.system.fleet import FIRST

pytestmark = pytest.mark.system


@pytest.fixture
def heard(plane):
    """What an application hears that subscribes to all results, by topic."""
    messages: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
    where, client = urlsplit(plane.broker), mqtt.Client(CallbackAPIVersion.VERSION2, "application")
    client.on_connect = lambda *_: client.subscribe("skerry/v1/r/#", 1)
    client.on_message = lambda _client, _data, message: messages.put((message.topic, message.payload))
    client.connect(where.hostname, where.port)
    client.loop_start()
    yield messages
    client.disconnect()
    client.loop_stop()


def test_results_reach_an_application_and_the_file_is_bounded(device, heard):
    lines = 'results_file = "r.jsonl"\nresults_file_bytes = 2000\nresults_files = 2'
    device.configure("models.fashion", f"{lines}\nresults_mqtt = true\nresults_mqtt_rate_hz = 10.0")
    device.start()
    device.await_serving(FIRST)
    topic, payload = heard.get(timeout=40)
    assert topic == f"skerry/v1/r/{device.id}/fashion"
    assert json.loads(payload)["release"] == FIRST
    eventually((device.folder / "r.jsonl.2").exists, "the file is rotated", 40)
    status = device.status()
    assert status["connected"]
    assert status["results"]["fashion"]["sent"] > 0
    assert status["http"]["fashion"].startswith("http://127.0.0.1:8")
    assert device.stop() == 0
    files = sorted(device.folder.glob("r.jsonl*"))
    assert [file.name for file in files] == ["r.jsonl", "r.jsonl.1", "r.jsonl.2"]
    assert all(file.stat().st_size <= 2000 for file in files)


def test_no_result_leaves_a_device_that_was_not_told_to(running, heard):
    before = running.status()
    assert before["results"] == {}
    assert heard.empty()
