"""The access rules as text: they follow the wire's topics, and a denial comes before every pattern."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.wire import topics
from skerry_host.plane.broker.access import TEXTS, Access, enrolment_rules, old_rules, operation_rules
from skerry_host.plane.broker.rights import DEVICE, ENROLLING, OLD_WAY
from skerry_host.plane.broker.rules import Rules

SAID = (topics.state, topics.reported, topics.command_result, topics.ask, topics.telemetry, topics.renew)
HEARD = (topics.desired, topics.command, topics.receipt, topics.renewal)
ids = st.from_regex(r"[a-z0-9-]{3,41}", fullmatch=True)


def matches(pattern: str, topic: str) -> bool:
    """Of MQTT's filters, without `#`."""
    wanted, given_ = pattern.split("/"), topic.split("/")
    return len(wanted) == len(given_) and all(one in ("+", other) for one, other in zip(wanted, given_, strict=True))


def test_every_topic_that_a_device_uses_is_its_own_to_use_and_nobody_elses():
    own, other = DEVICE.of("edge-17"), DEVICE.of("edge-18")
    used = [*(make("edge-17") for make in SAID), topics.results("edge-17", "fashion")]
    for topic in used:
        assert any(matches(each, topic) for each in own.write), topic
        assert not any(matches(each, topic) for each in other.write), topic
    for topic in (*(make("edge-17") for make in HEARD), topics.piece("edge-17", "0" * 64)):
        assert any(matches(each, topic) for each in own.read), topic
        assert not any(matches(each, topic) for each in (*other.read, *own.write)), topic
    for topic in (topics.chunk("0" * 64, 3), topics.digests("0" * 64)):
        assert any(matches(each, topic) for each in own.read), topic


def test_who_enrols_reaches_nothing_else():
    rights = ENROLLING.of("@claim-7")
    assert rights.write == ("skerry/v1/enroll/@claim-7/+/csr",)
    assert rights.read == ("skerry/v1/enroll/@claim-7/+/cert",)


def test_no_device_writes_what_the_host_says():
    for topic in (make("edge-17") for make in HEARD):
        assert not any(matches(each, topic) for each in (*DEVICE.of("edge-17").write, *OLD_WAY.of("edge-17").write))


@given(st.frozensets(ids, max_size=5), st.frozensets(ids, max_size=5))
def test_every_denied_name_has_its_denial_and_no_line_but_those_of_the_grammar(revoked, old_way):
    access = Access(revoked, old_way, 3)
    for text in (operation_rules(access, "l"), enrolment_rules(access, "l")):
        for name in revoked:
            assert f"user {name}\ntopic deny #\n" in text
    for make in TEXTS.values():
        lines = make(access, "l").splitlines()
        assert all(line.split(" ")[0] in {"user", "topic", "pattern"} and len(line.split(" ")) <= 3 for line in lines)


def test_on_the_old_listener_nobody_reaches_a_device_that_has_an_identity():
    text = old_rules(Access(old_way=frozenset({"old-1"}), version=1), "l")
    devices = {line.split("/")[3] for line in text.splitlines() if "/d/" in line}
    assert devices == {"old-1"}
    assert "%" not in text


def test_where_nobody_comes_the_old_way_the_rules_of_it_let_nobody_do_anything():
    assert "topic" not in old_rules(Access(), "l")


@pytest.mark.parametrize("kind", list(TEXTS))
def test_the_canary_may_use_the_topic_of_these_rules_only(kind):
    if kind != "old.acl":
        text = TEXTS[kind](Access(), "7-abc")
        assert "user @canary\ntopic readwrite skerry/v1/canary/7-abc\n" in text


def test_the_rules_of_ten_thousand_devices_are_written_in_no_time():
    """They are written at each revocation, whose five seconds run meanwhile: it took 17 s for 3,000 once."""
    many = frozenset(f"edge-{number}" for number in range(10_000))
    began = time.process_time()
    Rules(Access(many, many, 1, many), b"").files()
    assert time.process_time() - began < 2.0
