"""Every refusal of an order has a code in the twin at once: a row for each code, and how it comes about."""

import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from skerry_agent.deployment.children import RealProcesses
from skerry_agent.ports.jobs import Payload, Refusal, VerifyMessage
from skerry_agent.supervisor.verification_queue import PAUSES_S, VERIFY_S
from skerry_agent.wire import codec, envelope, topics
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.codec import MAX_MESSAGE_BYTES
from skerry_agent.wire.refusals import MAX_ORDER_BYTES, MOST_REFUSALS, REFUSALS, message_sha256
from skerry_agent.wire.twin import Assignment, Command, CommandResult, Desired, Reported
from tests.kit.site import DESIRED, Site, signed

COMMAND = topics.command("dev-1")
HOSTS = {
    *("missing_object", "broker_limit", "no_wheelhouse", "runtime_needs_glibc", "rollback_without_runtime"),
    *("wrong_machine", "wrong_python", "glibc_too_old", "agent_too_old", "no_runtime", "runtime_too_old"),
    *("accelerator_too_old", "not_enough_ram", "not_enough_disk"),
}
"""Codes that the host itself gives, or a device before it fetches."""

WANTED = Desired("dev-1", 6, 1.0, (Assignment("m", "m@1.0.0", "cpu", describe(b"manifest"), "d-6"),))
ROLLBACK = Command("dev-1", "c-1", "rollback", 1.0, "m", sequence=10)


class Refusing(Site):
    """A device that has accepted generation 5; `verdict` is what its updater says of the next message."""

    verdict = None

    def __init__(self, folder):
        super().__init__(folder)
        self.state = folder / "state"
        self.want(5)
        self.agent.message(COMMAND, signed(envelope.COMMAND, replace(ROLLBACK, id="c-0", sequence=5)))
        self.clock.advance(1.0)

    def answer(self, job):
        if self.verdict is not None and isinstance(job, VerifyMessage):
            return self.verdict
        return super().answer(job)

    def hear(self, topic, kind, message):
        raw = message if isinstance(message, bytes) else signed(kind, message)
        self.agent.message(topic, raw)
        self.clock.advance(VERIFY_S + 1.0)
        return raw

    def desired(self, message=WANTED):
        return self.hear(DESIRED, envelope.DESIRED, message)

    def command(self, message=ROLLBACK):
        return self.hear(COMMAND, envelope.COMMAND, message)

    @property
    def twin(self):
        return codec.decode(self.link.retained[topics.reported("dev-1")], Reported)

    @property
    def answers(self):
        said = [raw for topic, raw in self.link.published if topic == topics.command_result("dev-1")]
        return [codec.decode(raw, CommandResult) for raw in said]


@pytest.fixture
def site(tmp_path):
    return Refusing(tmp_path / "device")


def refused_by(reason, kind="rejected", detail="because"):
    def arrange(site):
        site.verdict = Refusal(kind, reason, detail)
        return site.desired()

    return arrange


def full(site):
    """What is written there finds no room, as on a full disk."""
    (site.state / ".desired.json.tmp").symlink_to("/dev/full")
    return site.desired()


def broken(site):
    (site.state / ".desired.json.tmp").mkdir()
    return site.desired()


def hangs(site):
    site.processes._answers = lambda _job: None
    return site.desired()


CASES = {
    "stale_generation": lambda site: site.desired(replace(WANTED, generation=2)),
    "wrong_device": lambda site: site.desired(replace(WANTED, device="dev-2")),
    "wrong_incarnation": lambda site: site.desired(replace(WANTED, incarnation="0" * 32)),
    "expired_order": lambda site: site.desired(replace(WANTED, expires=1_700_000_500.0)),
    "untrusted": refused_by("untrusted"),
    "no_trusted_keys": refused_by("no_trusted_keys"),
    "wrong_type": refused_by("wrong_type"),
    "unsupported_schema": refused_by("unsupported_schema"),
    "malformed": lambda site: site.desired(signed(envelope.DESIRED, {"device": "dev-1"})),
    "oversize_order": lambda site: site.desired(b"x" * (MAX_ORDER_BYTES + 1)),
    "disk_full": full,
    "disk": broken,
    "no_answer": hangs,
    "updater_died": refused_by("updater_died", "crashed"),
    "updater_not_started": refused_by("updater_not_started", "crashed"),
    "updater_timeout": refused_by("updater_timeout", "crashed"),
    "updater_error": refused_by("updater_error", "failed"),
}
"""How each code of a desired state comes about."""

COMMANDS = {
    "older_command": replace(ROLLBACK, sequence=4),
    "expired_order": replace(ROLLBACK, expires=1_700_000_500.0),
    "wrong_incarnation": replace(ROLLBACK, incarnation="0" * 32),
    "unknown_command": replace(ROLLBACK, kind="self-destruct"),
    "cannot_be_done": ROLLBACK,
}
"""Commands that could be read: their answers have the code."""


def test_every_code_of_the_table_has_its_case_and_is_in_the_document():
    assert {*CASES, *COMMANDS} | HOSTS == set(REFUSALS)
    document = (Path(__file__).resolve().parents[3] / "docs" / "agent-log.md").read_text()
    assert [code for code in REFUSALS if f"`{code}`" not in document] == []


@pytest.mark.parametrize("code", CASES)
def test_a_refused_desired_state_is_in_the_twin_and_in_the_log_at_once(site, caplog, code):
    caplog.set_level("INFO", logger="skerry-agent")
    before = site.twin.sequence
    raw = CASES[code](site)
    assert site.agent.status().models == {}
    (refused,) = site.twin.refused
    assert (refused.kind, refused.code, refused.message_sha256) == ("desired", code, message_sha256(raw))
    assert site.twin.sequence > before
    if code not in {"malformed", "oversize_order"}:
        assert refused.ids == ("d-6",)
        assert refused.generation in {2, 6}
    assert refused.detail
    told = [record for record in caplog.records if "was refused" in record.getMessage()]
    assert [(record.fields["reason"], record.fields["hint"]) for record in told] == [(code, REFUSALS[code].hint)]
    assert REFUSALS[code].text in told[0].getMessage()


@pytest.mark.parametrize("reason", ["updater_not_started", "updater_died"])
def test_a_board_that_is_short_of_memory_for_a_moment_refuses_nothing(site, reason):
    site.verdict = Refusal("crashed", reason, "Cannot allocate memory")
    site.agent.message(DESIRED, signed(envelope.DESIRED, WANTED))
    site.clock.advance(2.0)
    assert site.twin.refused == ()
    site.verdict = None
    site.clock.advance(PAUSES_S[1])
    assert (site.twin.generation, site.twin.refused) == (6, ())


def test_of_desired_states_that_wait_for_an_updater_only_the_newest_is_verified(site):
    site.verdict = Refusal("crashed", "updater_not_started", "Cannot allocate memory")
    site.agent.message(DESIRED, signed(envelope.DESIRED, WANTED))
    site.agent.message(DESIRED, signed(envelope.DESIRED, replace(WANTED, generation=7)))
    site.verdict = None
    site.clock.advance(PAUSES_S[0] + 1.0)
    assert (site.twin.generation, site.twin.refused) == (7, ())


@pytest.mark.parametrize("code", COMMANDS)
def test_a_refused_command_is_answered_with_its_code_and_is_in_the_log(site, caplog, code):
    caplog.set_level("INFO", logger="skerry-agent")
    site.command(COMMANDS[code])
    assert (site.answers[-1].id, site.answers[-1].ok, site.answers[-1].code) == ("c-1", False, code)
    assert [r for r in caplog.records if r.levelname == "WARNING" and r.fields.get("command") == "c-1"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("wrong_device", replace(ROLLBACK, device="dev-2")),
        ("malformed", signed(envelope.COMMAND, {"device": "dev-1"})),
        ("oversize_order", b"x" * (MAX_MESSAGE_BYTES + 1)),
    ],
)
def test_a_command_that_cannot_be_answered_is_in_the_twin(site, code, message):
    """Nothing says whose it is: the host knows it by its bytes."""
    before = len(site.answers)
    raw = site.command(message)
    (refused,) = site.twin.refused
    assert (refused.kind, refused.code, refused.message_sha256) == ("command", code, message_sha256(raw))
    assert len(site.answers) == before


def test_the_same_message_again_is_no_other_refusal_and_few_are_kept(site):
    for generation in [1, 2, 1, 2, 3, 4, 5]:
        site.desired(replace(WANTED, generation=generation, issued=float(generation)))
    assert [refused.generation for refused in site.twin.refused] == [2, 3, 4, 5]
    assert len(site.twin.refused) == MOST_REFUSALS


def test_an_accepted_order_ends_the_past_of_its_kind(site):
    site.desired(replace(WANTED, generation=2))
    site.command(replace(ROLLBACK, device="dev-2"))
    site.desired(WANTED)
    assert [refused.kind for refused in site.twin.refused] == ["command"]


def test_what_a_message_says_of_itself_is_harmless(site):
    site.verdict = Refusal("rejected", "untrusted", "by \x1b[2J whom")
    site.command(signed(envelope.COMMAND, {"id": "c\x1b[2J" * 100, "device": "dev-1"}))
    site.command(signed(envelope.COMMAND, {"id": "c", "generation": 2**70}))
    site.command(signed(envelope.COMMAND, {"id": ["c"], "assignments": [1]}))
    site.command(b"\x1b[2J")
    twin = site.twin
    assert all(text.isprintable() for order in twin.refused for text in (order.detail, *order.ids))
    assert all(issue.isprintable() for issue in twin.issues)
    assert max(len(each) for order in twin.refused for each in order.ids) < 300


@pytest.mark.parametrize("size", [MAX_ORDER_BYTES, MAX_MESSAGE_BYTES - 100, MAX_MESSAGE_BYTES + 100])
def test_no_size_of_an_order_kills_the_updater_or_makes_a_traceback(tmp_path, capfd, size):
    """As base64 in the updater's job it was longer than a message may be."""
    (tmp_path / "trust.json").write_text('{"director": []}')
    answers, done = [], threading.Event()
    processes = RealProcesses(lambda call: call(), tmp_path / "trust.json", tmp_path)
    processes.run_updater(
        VerifyMessage(b"x" * size, envelope.DESIRED, "director"), lambda a: answers.append(a) or done.set()
    )
    assert done.wait(60)
    assert [(answer.kind, answer.reason) for answer in answers] == [("rejected", "malformed")]
    assert capfd.readouterr() == ("", "")


def test_a_newer_format_is_told_from_a_foreign_message(tmp_path):
    from skerry_agent.trust.verification import KeyTrust, TrustError

    codes = {}
    for kind in ("application/vnd.skerry.desired.v2+json", envelope.COMMAND, "text/plain"):
        with pytest.raises(TrustError) as error:
            KeyTrust({}).verify(signed(kind, {}), envelope.DESIRED, "director")
        codes[kind] = error.value.code
    assert list(codes.values()) == ["unsupported_schema", "wrong_type", "wrong_type"]


def test_the_payload_that_was_verified_is_the_one_that_counts(site):
    """Claims are for people: an order is refused or taken by what is signed."""
    site.verdict = Payload(codec.encode(WANTED))
    site.desired(signed(envelope.DESIRED, replace(WANTED, generation=2)))
    assert site.agent.status().models["m"].deployment.id == "d-6"


def test_the_same_bytes_on_both_topics_are_two_refusals(site):
    oversize = b"x" * (MAX_ORDER_BYTES + 1)
    site.desired(oversize)
    site.command(oversize)
    assert [refused.kind for refused in site.twin.refused] == ["desired", "command"]
