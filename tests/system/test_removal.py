"""A model is taken off a running device: its processes end, and nobody listens where it was served."""

import socket
from urllib.parse import urlsplit

import pytest

from tests.kit.commands import skerry
from tests.kit.waiting import eventually

pytestmark = pytest.mark.system


def answers(url):
    where = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((where.hostname, where.port)) == 0


def test_a_model_that_is_taken_off_a_running_device_serves_nobody_any_more(home, running):
    url = running.status()["http"]["fashion"]
    assert answers(url)
    skerry(home, "device", "remove-model", running.id, "fashion")
    eventually(lambda: running.status()["models"] == {}, f"it is gone; {running.tail()}")
    assert not answers(url)
    eventually(lambda: running.bundles() == set(), "its files are gone")
    eventually(lambda: "fashion is gone" in skerry(home, "event", "list").stdout, "the host knows")
