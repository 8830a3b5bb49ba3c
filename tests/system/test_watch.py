"""`skerry device watch` with a real agent, which verifies the order in its updater before it takes effect."""

import json
import signal

import pytest

from tests.kit.commands import skerry_running

pytestmark = pytest.mark.system


def test_a_real_device_is_watched(home, plane, running):
    with skerry_running(home, "device", "watch", running.id, "--seconds", "300", "--json") as watching:
        views = [json.loads(watching.stdout.readline()) for _ in range(2)]
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=60)
    assert (watching.returncode, said) == (0, "")
    assert all(view["models"][0]["points"] for view in views)
    forms = (running.state / "outbox" / "receipts").read_text()
    assert forms == "1 2 3", "the plane has said that it reads packed reports, and they came"
