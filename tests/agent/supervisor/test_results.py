"""Results on their way to the broker: opt-in, on a topic of their own, and never in the way of anything else."""

import json

import msgspec
import pytest

from skerry_agent.config import ModelSection
from skerry_agent.machine.records import Record, Slots
from skerry_agent.ports.runner_protocol import Result
from skerry_agent.state.journal import Journal
from skerry_agent.state.slots import write_bundle
from skerry_agent.supervisor.results import MOST_UNACKED, ResultSender, ResultsSent
from tests.kit.link import FakeLink
from tests.kit.site import BUNDLE, SLOT, Site


def result(number=1, left_out=0):
    return Result(msgspec.Raw(json.dumps({"index": number}).encode()), left_out)


@pytest.fixture
def link():
    return FakeLink()


def test_a_result_goes_to_the_topic_of_its_device_and_model_and_is_counted(link):
    sender = ResultSender(link, "dev-1")
    sender.put("fashion", result(7, left_out=3))
    assert link.published == [("skerry/v1/r/dev-1/fashion", b'{"index": 7}')]
    assert sender.counts == {"fashion": ResultsSent(1, 12, 3)}


def test_offline_they_are_dropped_and_counted(link):
    sender = ResultSender(link, "dev-1")
    link.connected = False
    for _ in range(1000):
        sender.put("fashion", result())
    link.connected = True
    assert link.published == []
    assert sender.counts["fashion"] == ResultsSent(left_out=1000)


def test_a_broker_that_acknowledges_nothing_gets_few(link):
    sender = ResultSender(link, "dev-1")
    for _ in range(50):
        sender.put("fashion", result())
    assert len(link.published) == MOST_UNACKED
    sender.acked(1)
    sender.put("fashion", result())
    assert len(link.published) == MOST_UNACKED + 1
    sender.link_up()
    sender.put("fashion", result())
    assert len(link.published) == MOST_UNACKED + 2


@pytest.mark.parametrize(("asked", "rate_hz"), [(True, 1.0), (False, 0.0)])
def test_a_runner_is_told_only_where_agent_toml_asks_for_it(tmp_path, asked, rate_hz):
    state = tmp_path / "device" / "state"
    for folder in ("bundles/held", "models/m"):
        (state / folder).mkdir(parents=True)
    write_bundle(state / "bundles" / "held", BUNDLE)
    Journal(state / "models" / "m" / "journal.json").write(Record(slots=Slots(SLOT)))
    site = Site(tmp_path / "device", {"m": ModelSection(results_mqtt=asked)})
    (runner,) = site.processes.runners
    assert runner.job.results_rate_hz == rate_hz
    runner.validate()
    runner.follow()
    runner.listener.received(result())
    assert [topic for topic, _ in site.link.published if "/r/" in topic] == ["skerry/v1/r/dev-1/m"]
    assert site.agent.status().results["m"].sent == 1
