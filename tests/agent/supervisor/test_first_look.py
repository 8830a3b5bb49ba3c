"""What no trusted key can have signed is refused without a process, and a flood of it changes little in the twin."""

import base64
import hashlib
import json
import os

import pytest

from skerry_agent.ports.jobs import Payload, Refusal, Verified, VerifyMessage
from skerry_agent.supervisor.refused_orders import BURST, RefusedOrders
from skerry_agent.trust.key_file import SIGNATURE_BYTES
from skerry_agent.wire import codec, envelope
from skerry_agent.wire.envelope import Envelope, Signature
from skerry_agent.wire.refusals import MOST_REFUSALS
from skerry_agent.wire.twin import Desired
from tests.kit.clock import FakeClock
from tests.kit.site import DESIRED, Site

KEY, OTHER = bytes(32), b"o" * 32
PAYLOAD = codec.encode(Desired("dev-1", 7, 1.0))


def key_id(raw):
    return hashlib.sha256(raw).hexdigest()


def message(kind=envelope.DESIRED, key=KEY, signature=None):
    signature = os.urandom(SIGNATURE_BYTES) if signature is None else signature
    return codec.encode(Envelope(kind, PAYLOAD, (Signature(key_id(key), signature),)))


def trusts(folder, key):
    trusted = base64.b64encode(key).decode()
    (folder / "trust.json").write_text(json.dumps({"director": [trusted], "release": [trusted]}))


@pytest.fixture
def site(tmp_path):
    trusts(tmp_path, KEY)
    return Site(tmp_path)


NO_PROCESS = {
    "an unknown key": (lambda: message(key=OTHER), "untrusted"),
    "a signature too short": (lambda: message(signature=b"x" * 63), "untrusted"),
    "a signature too long": (lambda: message(signature=b"x" * 65), "untrusted"),
    "no signature": (lambda: message(signature=b""), "untrusted"),
    "of another kind": (lambda: message("text/plain"), "wrong_type"),
    "newer": (lambda: message("application/vnd.skerry.desired.v2+json"), "unsupported_schema"),
    "garbage": (lambda: os.urandom(300), "malformed"),
    "deep": (lambda: b"[" * 100_000, "malformed"),
}


@pytest.mark.parametrize("name", NO_PROCESS)
def test_what_no_trusted_key_can_have_signed_starts_no_process(site, name):
    """Case T3: the supervisor looks at type, key id and length, without cryptography."""
    make, code = NO_PROCESS[name]
    site.agent.message(DESIRED, make())
    assert site.processes.jobs == []
    assert [refused.code for refused in site.agent._orders.refused.newest] == [code]


def test_what_looks_right_is_verified_by_a_process(site):
    site.agent.message(DESIRED, message())
    assert [type(job) for job in site.processes.jobs] == [VerifyMessage]


def test_a_key_that_is_put_there_while_the_agent_runs_is_believed(site, tmp_path):
    site.agent.message(DESIRED, message(key=OTHER))
    assert site.processes.jobs == []
    trusts(tmp_path, OTHER)
    os.utime(tmp_path / "trust.json", ns=(1, 1))
    site.agent.message(DESIRED, message(key=OTHER))
    assert len(site.processes.jobs) == 1


def test_without_readable_keys_an_updater_says_what_is_wrong(tmp_path):
    site = Site(tmp_path)
    site.agent.message(DESIRED, message())
    assert len(site.processes.jobs) == 1


class Noted:
    def __init__(self):
        self.clock, self.changes = FakeClock(), 0
        self.orders = RefusedOrders(self.clock, self.change)

    def change(self):
        self.changes += 1


def test_a_flood_of_unsigned_messages_is_told_a_few_times_and_then_counted(caplog):
    """Case T3: else the twin would be published twenty times a second, and the host drop what an honest device says."""
    noted = Noted()
    for number in range(1000):
        noted.orders.note("desired", b"%d" % number, "untrusted", "no", signed=False)
        noted.clock.advance(0.01)
    assert noted.changes <= BURST + 2
    assert len(caplog.records) == noted.changes
    noted.clock.advance(60.0)
    noted.orders.note("desired", b"again", "untrusted", "no", signed=False)
    assert caplog.records[-1].fields["untold"] > 900


def test_a_flood_of_unsigned_messages_does_not_put_out_of_the_twin_what_the_host_has_signed():
    noted = Noted()
    for number in range(3):
        noted.orders.note("desired", b"signed %d" % number, "stale_generation", "old")
    for number in range(100):
        noted.orders.note("command", b"%d" % number, "untrusted", "no", signed=False)
        noted.clock.advance(20.0)
    codes = [refused.code for refused in noted.orders.newest]
    assert codes == ["stale_generation"] * 2 + ["untrusted"] * (MOST_REFUSALS - 2)


def test_an_answer_for_several_messages_shows_that_keys_work_if_one_was_signed(site):
    from skerry_agent.supervisor.keys import _is_refusal

    refusal = Refusal("rejected", "untrusted")
    assert _is_refusal(Verified((refusal, refusal)))
    assert not _is_refusal(Verified((refusal, Payload(b"{}"))))
