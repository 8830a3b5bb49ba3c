"""The record of ports is pinned: a device that is upgraded keeps the ports that its applications know."""

import hashlib

from skerry_agent.state.ports import PORTS_FILE, KeptPorts

BODY = b'{"ports":{"fashion":8000,"other":8001}}'
PINNED = hashlib.sha256(BODY).hexdigest().encode() + b"\n" + BODY


def test_the_record_keeps_its_bytes(tmp_path):
    kept = KeptPorts(tmp_path)
    kept.keep("fashion", 8000)
    kept.keep("other", 8001)
    assert (tmp_path / PORTS_FILE).read_bytes() == PINNED


def test_a_record_of_an_earlier_agent_and_one_of_a_later_are_read(tmp_path):
    for body in (BODY, BODY[:-1] + b',"more":1}'):
        (tmp_path / PORTS_FILE).write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        kept = KeptPorts(tmp_path)
        assert (kept.find("fashion"), kept.find("absent"), kept.issue) == (8000, None, None)
        assert kept.taken == {8000, 8001}


def test_a_disk_that_takes_nothing_costs_no_port(tmp_path):
    kept = KeptPorts(tmp_path / "absent")
    kept.keep("fashion", 8000)
    assert kept.find("fashion") == 8000
    assert "cannot be kept" in kept.issue
