"""A model is taken off a running device: its processes end, and nobody listens where it was served."""

from urllib.parse import urlsplit

import pytest

from tests.kit.commands import skerry
from tests.kit.waiting import eventually, listening

pytestmark = pytest.mark.system


def test_a_model_that_is_taken_off_a_running_device_serves_nobody_any_more(home, running):
    port = urlsplit(running.status()["http"]["fashion"]).port
    assert port in listening(running.process.pid)
    skerry(home, "device", "remove-model", running.id, "fashion")
    eventually(lambda: running.status()["models"] == {}, f"it is gone; {running.tail()}")
    assert port not in listening(running.process.pid)
    eventually(lambda: running.bundles() == set(), "its files are gone")
    eventually(lambda: "fashion is gone" in skerry(home, "event", "list").stdout, "the host knows")
