"""An order that is over must not reach a device that has forgotten it: a board with a new SD card."""

import json
import shutil

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from skerry_agent.wire import topics
from tests.kit.commands import skerry
from tests.kit.waiting import eventually
from tests.system.fleet import FIRST, SECOND, await_end, outcomes, start_rollout

pytestmark = pytest.mark.system


class Listener:
    """A client that hears what is on a device's command topic, and can put something there."""

    def __init__(self, url, device):
        self.heard, self._topic = [], topics.command(device)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _client, _data, message: self.heard.append(message.payload)
        host, port = url.removeprefix("mqtt://").split(":")
        self._client.connect(host, int(port))
        self._client.subscribe(self._topic, 1)
        self._client.loop_start()

    def retain(self, payload):
        self._client.publish(self._topic, payload, 1, retain=True).wait_for_publish(10)

    def stop(self):
        self._client.disconnect()
        self._client.loop_stop()


def shown(home, device):
    return json.loads(skerry(home, "device", "show", device.id, "--json").stdout)["device"]


def desired(home, device):
    return shown(home, device)["models"][0]["wanted"]


def test_a_stale_rollback_does_not_leave_a_new_sd_card_with_nothing(home, plane, running):
    device = running
    await_end(home, start_rollout(home, FIRST, device.id))  # else this host has never assigned what it runs
    assert outcomes(await_end(home, start_rollout(home, SECOND, device.id))) == {("succeeded", "")}
    listener = Listener(plane.broker, device.id)
    try:
        before = shown(home, device)["generation"]
        skerry(home, "rollback", "--device", device.id)
        device.await_serving(FIRST)
        eventually(lambda: listener.heard and listener.heard[-1] == b"", "the command is cleared")
        eventually(lambda: desired(home, device) == FIRST, "the host desires what the device went back to")
        # what is wanted is told as soon as the device has given up; an order for it the host signs a moment later
        eventually(lambda: shown(home, device)["generation"] > before, "the host has ordered it")
        device.kill()
        shutil.rmtree(device.state)
        listener.retain(
            listener.heard[0]
        )  # as a plane before the fix, or a broker restored from its disk, would have it
        device.start()
        device.await_serving(FIRST)
        assert device.record().deployment.outcome == "succeeded"
    finally:
        listener.stop()
