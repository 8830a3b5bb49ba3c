"""`skerry device watch` with a real agent, which verifies the order in its updater before it takes effect."""

import json

import pytest

from tests.kit.commands import skerry_process

pytestmark = pytest.mark.system


def test_a_real_device_is_watched(home, plane, running):
    done = skerry_process(home, "device", "watch", running.id, "--seconds", "6", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    views = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(views) >= 2
    assert all(view["models"][0]["points"] for view in views)
    forms = (running.state / "outbox" / "receipts").read_text()
    assert forms == "1 2", "the plane has said that it reads packed reports, and they came"
