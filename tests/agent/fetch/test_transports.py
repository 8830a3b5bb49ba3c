"""Which sources a deployment has, and in which order; that the fetcher goes from one to the next."""

from queue import SimpleQueue

import pytest
from msgspec.structs import replace

from skerry_agent.fetch.fetcher import Fetcher
from skerry_agent.fetch.over_http import Http
from skerry_agent.fetch.over_mqtt import Mqtt
from skerry_agent.fetch.sources import Folder, ThreadedSource
from skerry_agent.fetch.transports import TRANSPORTS, sources
from skerry_agent.machine.records import Deployment
from skerry_agent.state.blobs import BlobStore
from skerry_agent.wire.blobs import describe
from tests.kit.blobs import CHUNK, NO_LIMITS
from tests.kit.clock import FakeClock
from tests.kit.link import FakeLink

DATA = bytes(range(251)) * 40
REF = describe(DATA, CHUNK)
ORDER = Deployment("d1", "m@1.0.0", "cpu", REF)


def kinds(deployment: Deployment) -> list[type]:
    return [type(one) for one in sources(lambda call: call(), deployment, Mqtt(FakeLink(), "dev-1"))]


def test_http_goes_before_the_broker_where_the_host_offers_it():
    assert kinds(ORDER) == [Mqtt]
    assert kinds(replace(ORDER, http="http://127.0.0.1:1/blobs")) == [Http, Mqtt]


@pytest.mark.parametrize("base", ["http://h:0", "ftp://x/y"])
def test_an_address_that_is_none_is_passed_over(base):
    assert kinds(replace(ORDER, http=base)) == [Mqtt]


def test_an_install_from_a_folder_asks_nobody_else():
    assert kinds(replace(ORDER, folder="/media/stick", http="http://127.0.0.1:1/blobs")) == [Folder]


class Empty(ThreadedSource):
    """A transport that turns out to have nothing."""

    transport = "empty"

    def read(self, ref, piece):
        raise FileNotFoundError("it is not here")


def test_a_transport_that_fails_gives_way_to_the_next(tmp_path):
    (tmp_path / REF.sha256).write_bytes(DATA)
    stick = lambda post, _deployment: Folder(post, tmp_path)  # noqa: E731
    calls, ended = SimpleQueue(), []
    store = BlobStore(tmp_path / "blobs")
    fetcher = Fetcher(
        FakeClock(), store, [REF], NO_LIMITS, lambda: ended.append("done"), lambda *why: ended.append(why)
    )
    transports = (*TRANSPORTS, lambda post, _deployment: Empty(post), stick)
    fetcher.start(sources(calls.put, ORDER, Mqtt(FakeLink(), "dev-1"), transports))
    while not ended:
        calls.get(timeout=10)()
    assert (ended, list(fetcher.transports)) == (["done"], ["folder"])
    assert store.path(REF.sha256).read_bytes() == DATA
