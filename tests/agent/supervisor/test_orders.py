"""What the host orders is believed only when it is verified, newer, for this device, and kept on disk."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from skerry_agent.ports.jobs import Payload, Refusal, Verified, VerifyMessage, VerifyMessages
from skerry_agent.state.disk import write_sealed
from skerry_agent.supervisor.orders import REMEMBERED_COMMANDS, Orders
from skerry_agent.supervisor.verification_queue import MOST_WAITING_BYTES, VERIFY_S, Waiting
from skerry_agent.wire import codec
from skerry_agent.wire.twin import Command, Desired
from tests.kit.clock import FakeClock
from tests.kit.processes import FakeProcesses

DESIRED = Desired("dev-1", 5, 0.0)


class Rig:
    def __init__(self, folder):
        self.clock = FakeClock()
        self.applied = []
        self.ran = []
        self.replies = []
        self.processes = FakeProcesses(self.verify)
        self.orders = Orders("dev-1", folder, self.processes, self.clock)

    def verify(self, job: VerifyMessage):
        """Stands for the updater: what begins with a brace was signed well."""
        return Payload(job.raw) if job.raw.startswith(b"{") else Refusal("rejected", "untrusted", "no valid signature")

    def desired(self, message):
        raw = codec.encode(message) if isinstance(message, Desired) else message
        self.orders.desired_message(raw, self.applied.append)

    def command(self, message, ok=True):
        def run(command):
            self.ran.append(command.id)
            return ok, "done"

        self.orders.command_message(codec.encode(message), run, self.replies.append)


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def test_a_newer_desired_state_is_applied_and_survives_a_restart(rig, tmp_path):
    rig.desired(DESIRED)
    assert rig.applied == [DESIRED]
    again = Rig(tmp_path).orders
    assert again.desired == DESIRED
    assert again.generation == 5


@pytest.mark.parametrize(
    ("message", "issue"),
    [
        (replace(DESIRED, generation=4), "generation 4 was ignored: 5 is accepted"),
        (replace(DESIRED, issued=9.0), "generation 5 was ignored: 5 is accepted"),
        (replace(DESIRED, generation=6, device="dev-2"), "for device dev-2 was ignored"),
        (replace(DESIRED, generation=6, expires=1_700_000_500.0), "generation 6 has expired"),
        (b"not signed", "desired refused: no valid signature"),
        (b'{"device":"dev-1"}', "generation: missing; issued: missing"),
    ],
    ids=["older", "same generation, other content", "other device", "expired", "unsigned", "malformed"],
)
def test_anything_else_is_ignored_and_said(rig, message, issue):
    rig.desired(DESIRED)
    rig.desired(message)
    assert rig.applied == [DESIRED]
    assert issue in rig.orders.issue


MINE, OTHER = "a1" * 16, "b2" * 16


@pytest.mark.parametrize(
    ("enrolled", "incarnation", "accepted"),
    [
        (None, None, True),
        (None, MINE, True),
        (None, OTHER, False),
        (MINE, MINE, True),
        (MINE, None, False),
        (MINE, OTHER, False),
    ],
)
@pytest.mark.parametrize("kind", ["desired", "command"])
def test_an_order_counts_for_the_state_folder_that_has_enrolled(tmp_path, kind, enrolled, incarnation, accepted):
    """A device that never enrolled takes orders that name no folder, as it always has."""
    (tmp_path / "incarnation").write_text(MINE + "\n")
    rig = Rig(tmp_path)
    rig.orders.enrolled_as = enrolled
    if kind == "desired":
        rig.desired(replace(DESIRED, incarnation=incarnation))
        assert bool(rig.applied) == accepted
        refused = [each.code for each in rig.orders.refused.newest]
    else:
        rig.command(Command("dev-1", "c-1", "rollback", 0.0, sequence=1, incarnation=incarnation))
        assert bool(rig.ran) == accepted
        refused = [reply.code for reply in rig.replies if not reply.ok]
    assert refused == ([] if accepted else ["wrong_incarnation"])


def test_no_order_of_before_is_accepted_by_a_device_that_was_set_up_anew(tmp_path):
    """Case U5 of the threat table: every order that was ever signed, replayed to a board whose state is gone."""
    orders = [replace(DESIRED, generation=n, incarnation=old) for n in range(1, 40) for old in (None, OTHER)]
    commands = [Command("dev-1", f"c-{n}", "rollback", 0.0, sequence=n, incarnation=OTHER) for n in range(1, 40)]
    (tmp_path / "incarnation").write_text(MINE + "\n")
    rig = Rig(tmp_path)
    rig.orders.enrolled_as = MINE
    for order in orders:
        rig.desired(order)
    for command in commands:
        rig.command(command)
    assert (rig.applied, rig.ran, rig.orders.generation) == ([], [], 0)
    rig.desired(replace(DESIRED, generation=50, incarnation=MINE))
    assert rig.orders.generation == 50


def test_a_desired_state_of_before_enrolment_that_was_accepted_is_no_news_and_no_refusal(tmp_path):
    rig = Rig(tmp_path)
    rig.desired(DESIRED)
    again = Rig(tmp_path)
    again.orders.enrolled_as = MINE
    again.desired(DESIRED)
    assert (again.orders.generation, again.orders.refused.newest, again.orders.issue) == (5, (), None)


def test_an_old_order_stays_ignored_after_a_restart(rig, tmp_path):
    rig.desired(DESIRED)
    later = Rig(tmp_path)
    later.desired(replace(DESIRED, generation=4))
    assert later.applied == []


def test_the_same_message_again_is_not_verified_again(rig):
    rig.desired(DESIRED)
    rig.desired(DESIRED)
    rig.orders.desired_message(b"", rig.applied.append)
    assert len(rig.processes.jobs) == 1


@pytest.fixture
def slow(rig):
    """The rig, whose updater answers only when it is told to: `slow()` lets the earliest that runs answer."""
    rig.processes._answers = lambda _job: None
    rig.processes.most = 0

    def answer():
        rig.processes.most = max(rig.processes.most, len(rig.processes.askers))
        job = rig.processes.jobs.pop(0)
        several = isinstance(job, VerifyMessages)
        rig.processes.askers.pop(0)(Verified(tuple(map(rig.verify, job.messages))) if several else rig.verify(job))

    return answer


def test_a_message_that_comes_again_while_it_is_verified_is_no_news(rig, slow):
    rig.desired(DESIRED)
    rig.desired(DESIRED)
    slow()
    slow()
    assert (rig.applied, rig.orders.issue) == ([DESIRED], None)


def test_a_flood_of_messages_that_look_right_takes_one_process_at_a_time_and_holds_up_no_order(rig, slow):
    """Case T3: whatever comes while a process runs is verified by the next one, the real order among it."""
    for number in range(100):
        rig.desired(b"garbage %d" % number)
    rig.desired(DESIRED)
    for number in range(100, 200):
        rig.desired(b"garbage %d" % number)
    assert len(rig.processes.askers) == 1
    slow()
    slow()
    assert (rig.applied, rig.processes.askers, rig.processes.most) == ([DESIRED], [], 1)


def test_a_flood_without_end_takes_little_of_the_processor(rig):
    """Case T3: after some batches in which nothing was signed the next waits half a second."""
    for number in range(600):
        rig.desired(b"garbage %d" % number)
        rig.clock.advance(0.01)
    assert len(rig.processes.jobs) <= 6 / 0.5 + 4


def test_of_two_that_waited_together_the_older_is_no_refusal(rig, slow):
    rig.desired(b"garbage")
    rig.desired(DESIRED)
    rig.desired(replace(DESIRED, generation=6))
    slow()
    slow()
    assert [each.generation for each in rig.applied] == [6]
    assert rig.orders.refused.newest == ()


def waiting_of(sizes):
    waiting, answered = Waiting(), []
    for number, size in enumerate(sizes):
        raw = b"%d " % number
        job = VerifyMessage(raw + b"x" * (size - len(raw)), "t", "director")
        waiting.put(job, answered.append)
    return waiting


@pytest.mark.parametrize("flood", [[700] * 5000, [100_000] * 50, [5000] * 500, [701, 699] * 1000])
def test_what_waits_first_is_put_out_by_nothing_that_is_larger_or_later(flood):
    """Case T3: who sends more than there is room for pushes out his own messages."""
    kept = [each.number for each in waiting_of([690, *flood]).take_all()]
    assert kept[0] == 0
    assert len(kept) > 1
    assert sum(flood[number - 1] for number in kept[1:]) + 690 <= MOST_WAITING_BYTES


def test_an_updater_that_hangs_holds_nothing_up_for_ever(rig, slow):
    rig.desired(b"hangs")
    rig.desired(DESIRED)
    rig.clock.advance(VERIFY_S)
    assert "could not be verified" in rig.orders.issue
    rig.processes.jobs.pop(0)
    rig.processes.askers.pop(0)
    slow()
    assert (rig.applied, rig.orders.issue) == ([DESIRED], None)


def test_a_flood_of_commands_is_bounded_and_holds_up_no_desired_state(rig, slow):
    for number in range(100):
        rig.command(Command("dev-1", f"c-{number}", "rollback", 0.0))
    rig.desired(DESIRED)
    slow()
    slow()
    assert rig.applied == [DESIRED]
    assert rig.ran == [f"c-{number}" for number in range(100)]
    assert rig.processes.most == 1


def test_an_unset_clock_cannot_say_that_an_order_has_expired(rig):
    rig.clock.now -= 1_700_000_000
    rig.desired(replace(DESIRED, expires=500.0))
    assert len(rig.applied) == 1


def test_what_cannot_be_kept_is_not_accepted(rig, tmp_path):
    (tmp_path / ".desired.json.tmp").mkdir()
    rig.desired(DESIRED)
    assert rig.applied == []
    assert "could not be saved" in rig.orders.issue


def damage(path):
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize("name", ["desired.json", "desired.second.json"])
@pytest.mark.parametrize("spoil", [damage, Path.unlink])
def test_one_damaged_copy_changes_nothing_and_is_mended(rig, tmp_path, name, spoil):
    rig.desired(DESIRED)
    spoil(tmp_path / name)
    again = Rig(tmp_path)
    assert again.orders.desired == DESIRED
    assert (again.orders.issue is None) == (spoil is Path.unlink)
    again.desired(replace(DESIRED, generation=4))
    assert again.applied == []
    assert len({path.read_bytes() for path in tmp_path.glob("desired.*json")}) == 1


def test_of_two_copies_the_newer_counts(rig, tmp_path):
    rig.desired(DESIRED)
    older = (tmp_path / "desired.json").read_bytes()
    rig.desired(replace(DESIRED, generation=6))
    (tmp_path / "desired.json").write_bytes(older)
    assert Rig(tmp_path).orders.generation == 6


def test_a_desired_state_of_which_both_copies_are_damaged_is_asked_for_again(rig, tmp_path):
    rig.desired(DESIRED)
    for path in tmp_path.glob("desired.*"):
        damage(path)
    again = Rig(tmp_path)
    assert again.orders.desired is None
    assert "is damaged" in again.orders.issue
    again.desired(DESIRED)
    assert again.applied == [DESIRED]


def test_a_command_is_run_once_and_answered_whenever_it_comes(rig, tmp_path):
    command = Command("dev-1", "c-1", "rollback", 0.0)
    rig.command(command)
    rig.command(command)
    later = Rig(tmp_path)
    later.command(command)
    assert (rig.ran, later.ran) == (["c-1"], [])
    assert [r.ok for r in rig.replies + later.replies] == [True, True, True]


def test_a_command_for_another_device_is_ignored(rig):
    rig.command(Command("dev-2", "c-1", "rollback", 0.0))
    assert (rig.ran, rig.replies) == ([], [])


SEQUENCED = Command("dev-1", "c-2", "rollback", 0.0, sequence=2)


def test_an_older_command_is_refused_after_a_newer(rig, tmp_path):
    """Also after a restart, and after more commands than the answers that are kept."""
    rig.command(SEQUENCED)
    older = replace(SEQUENCED, id="c-1", sequence=1)
    rig.command(older)
    again = Rig(tmp_path)
    again.command(older)
    assert (rig.ran, again.ran) == (["c-2"], [])
    for reply in (rig.replies[1], again.replies[0]):
        assert (reply.ok, reply.detail) == (False, "it is older (sequence 1) than a command that was run here (2)")
    assert "c-1 was refused" in again.orders.issue


def test_the_newest_sequence_outlives_the_answers(rig, tmp_path):
    for number in range(100, 100 + 2 * REMEMBERED_COMMANDS):
        rig.command(replace(SEQUENCED, id=f"c-{number}", sequence=number))
    again = Rig(tmp_path)
    again.command(replace(SEQUENCED, id="c-100", sequence=100))
    assert again.ran == []


@pytest.mark.parametrize("name", ["commands.json", "commands.second.json"])
@pytest.mark.parametrize("spoil", [damage, Path.unlink])
def test_one_damaged_copy_of_the_newest_sequence_changes_nothing(rig, tmp_path, name, spoil):
    rig.command(SEQUENCED)
    spoil(tmp_path / name)
    again = Rig(tmp_path)
    again.command(replace(SEQUENCED, id="c-1", sequence=1))
    again.command(SEQUENCED)
    assert (again.ran, [r.ok for r in again.replies]) == ([], [False, True])
    assert len({path.read_bytes() for path in tmp_path.glob("commands.*json")}) == 1


def test_the_newest_sequence_is_on_disk_before_a_command_is_run(rig, tmp_path):
    """Killed while it runs, it is run again, but nothing older is."""

    def die(_command):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rig.orders.command_message(codec.encode(SEQUENCED), die, rig.replies.append)
    again = Rig(tmp_path)
    again.command(replace(SEQUENCED, id="c-1", sequence=1))
    again.command(SEQUENCED)
    assert again.ran == ["c-2"]


def test_a_command_that_was_done_before_a_crash_has_not_failed(rig, tmp_path):
    """Killed before the answer was kept: run again, it finds nothing left to do."""

    def die(_command):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rig.orders.command_message(codec.encode(SEQUENCED), die, rig.replies.append)
    again = Rig(tmp_path)
    again.command(SEQUENCED, ok=False)
    again.command(replace(SEQUENCED, id="c-3", sequence=3), ok=False)
    assert [(reply.id, reply.ok) for reply in again.replies] == [("c-2", True), ("c-3", False)]
    assert again.replies[0].detail == "it was begun before a restart, and now done"


def test_a_command_that_has_expired_is_refused_where_the_clock_can_say_so(rig):
    late = replace(SEQUENCED, expires=rig.clock.wall() - 1.0)
    rig.command(late)
    said = "it has expired by this device's clock, which says 2023-11-14 22:30 UTC"
    assert (rig.ran, rig.replies[0].detail) == ([], said)
    rig.clock.now -= 1_700_000_000
    rig.command(replace(late, expires=1.0))
    assert rig.ran == ["c-2"]


def test_a_full_disk_holds_no_command_up(rig, tmp_path):
    (tmp_path / ".commands.json.tmp").mkdir()
    rig.command(SEQUENCED)
    assert (rig.ran, rig.replies[0].ok) == (["c-2"], True)
    assert "could not be saved" in rig.orders.issue


def test_answers_of_an_agent_before_sequences_are_read(rig, tmp_path):
    """Its file has no sequence and no second copy; a host from then sends no sequence."""
    body = b'{"results":[{"device":"dev-1","id":"c-9","ok":true,"detail":"done"}]}'
    write_sealed(tmp_path / "commands.json", body)
    again = Rig(tmp_path)
    again.command(Command("dev-1", "c-9", "rollback", 0.0))
    again.command(Command("dev-1", "c-10", "rollback", 0.0))
    again.command(SEQUENCED)
    assert again.ran == ["c-10", "c-2"]


def test_answers_of_an_older_agent_that_ran_in_between_are_not_forgotten(rig, tmp_path):
    """Installed for a while over this one, it leaves the second copy as it was."""
    rig.command(SEQUENCED)
    body = b'{"results":[{"device":"dev-1","id":"c-3","ok":true,"detail":"done"}]}'
    write_sealed(tmp_path / "commands.json", body)
    again = Rig(tmp_path)
    again.command(replace(SEQUENCED, id="c-3", sequence=3))
    again.command(SEQUENCED)
    again.command(replace(SEQUENCED, id="c-1", sequence=1))
    assert (again.ran, [reply.ok for reply in again.replies]) == ([], [True, True, False])
    assert len({path.read_bytes() for path in tmp_path.glob("commands.*json")}) == 1
