"""Topics are part of the contract: every one is pinned here, and none has more levels than brokers accept."""

import pytest

from skerry_agent.wire import topics
from skerry_agent.wire.errors import WireError

SHA = "a" * 64
KEY = "0123456789abcdef"
PINNED = {
    topics.state("dev-1"): "skerry/v1/d/dev-1/state",
    topics.desired("dev-1"): "skerry/v1/d/dev-1/desired",
    topics.reported("dev-1"): "skerry/v1/d/dev-1/reported",
    topics.command("dev-1"): "skerry/v1/d/dev-1/command",
    topics.command_result("dev-1"): "skerry/v1/d/dev-1/command/result",
    topics.telemetry("dev-1"): "skerry/v1/t/03/dev-1",
    topics.results("dev-1", "fashion"): "skerry/v1/r/dev-1/fashion",
    topics.receipt("dev-1"): "skerry/v1/d/dev-1/receipt",
    topics.chunk(SHA, 7): f"skerry/v1/blob/{SHA}/7",
    topics.digests(SHA): f"skerry/v1/blob/{SHA}/digests",
    topics.ask("dev-1"): "skerry/v1/d/dev-1/ask",
    topics.piece("dev-1", SHA): f"skerry/v1/d/dev-1/piece/{SHA}",
    topics.ALL_ASKS: "skerry/v1/d/+/ask",
    topics.enroll_request("@claim-7", KEY): f"skerry/v1/enroll/@claim-7/{KEY}/csr",
    topics.enroll_answer("@birth-dev-1", KEY): f"skerry/v1/enroll/@birth-dev-1/{KEY}/cert",
    topics.renew("dev-1"): "skerry/v1/d/dev-1/renew",
    topics.renewal("dev-1"): "skerry/v1/d/dev-1/cert",
    topics.ALL_ENROLL_REQUESTS: "skerry/v1/enroll/+/+/csr",
    topics.ALL_RENEWALS: "skerry/v1/d/+/renew",
}


@pytest.mark.parametrize(("made", "pinned"), PINNED.items())
def test_topics_never_change(made, pinned):
    assert made == pinned
    assert made.count("/") <= 7


@pytest.mark.parametrize(
    "make",
    [
        topics.state,
        topics.desired,
        topics.ask,
        topics.renew,
        topics.renewal,
        lambda name: topics.enroll_request(name, KEY),
        lambda name: topics.enroll_request(f"@birth-{name}", KEY),
        lambda name: topics.enroll_answer(f"@claim-{name}", KEY),
        lambda name: topics.enroll_answer("@claim-7", name),
        lambda name: topics.piece(name, SHA),
        lambda name: topics.results("dev-1", name),
    ],
)
@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "a" * 100, "a\0"])
def test_no_name_adds_a_level_or_a_wildcard(make, name):
    with pytest.raises(WireError):
        make(name)


def test_the_device_of_a_question_is_in_its_topic():
    assert topics.device_of(topics.ask("dev-1")) == "dev-1"


def test_who_asks_for_enrolment_is_in_the_topic():
    assert topics.enrolment_of(topics.enroll_request("@claim-7", KEY)) == ("@claim-7", KEY)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "skerry/v1/enroll",
        f"skerry/v1/enroll/@plane/{KEY}/csr",
        f"skerry/v1/enroll/dev-1/{KEY}/csr",
        f"skerry/v1/enroll/@claim-0/{KEY}/csr",
        f"skerry/v1/enroll/@claim-7/{KEY[:15]}G/csr",
        f"skerry/v1/enroll/@claim-7/{KEY}/csr/more",
        f"skerry/v1/d/@claim-7/{KEY}/csr",
    ],
)
def test_no_other_topic_tells_who_asks_for_enrolment(topic):
    with pytest.raises(WireError):
        topics.enrolment_of(topic)
