"""Whether what is said under a device's name is new, and whether two say it."""

import pytest

from skerry_agent.wire.names import MAX_COUNT
from skerry_host.plane.ingest.speakers import LAG, MAX_JUMP, MOST_BOOTS, WINDOW_S, Speakers, Word

NAME = ("dev-1", "Reported")


class Told:
    """What was taken of what was said, as the registry keeps it."""

    def __init__(self):
        self.speakers, self.last, self.now = Speakers(), None, 1000.0

    def say(self, boot, sequence, after_s=1.0):
        self.now += after_s
        verdict = self.speakers.judge(NAME, Word(boot, sequence), self.last, self.now)
        taken = verdict == "returned" or (verdict == "next" and not self._known(boot, sequence))
        self.last = Word(boot, sequence) if taken else self.last
        return verdict

    def _known(self, boot, sequence):
        return self.last is not None and self.last.boot == boot and self.last.sequence >= sequence

    @property
    def twice(self):
        return self.speakers.seen_twice("dev-1", self.now)


@pytest.fixture
def told():
    return Told()


@pytest.mark.parametrize("ahead", [MAX_JUMP + 1, 2**32, MAX_COUNT - 5])
def test_a_number_far_above_the_last_of_the_same_boot_is_malformed(told, ahead):
    """Case T1 of the threat table: one forged message once muted a device for ever."""
    told.say("a", 5)
    assert told.say("a", 5 + ahead) == "malformed"
    assert told.say("a", 6) == "next"
    assert told.say("a", 6 + MAX_JUMP) == "next"


def test_a_device_whose_number_was_forged_upwards_is_heard_again(told):
    told.say("a", 5)
    assert told.say("a", 5 + MAX_JUMP) == "next"
    assert told.say("a", 6) == "returned"
    assert told.say("a", 7) == "next"
    assert not told.twice, "one return is no clone yet"
    told.say("a", 7 + MAX_JUMP)
    assert (told.say("a", 8), told.twice) == ("returned", True)


def test_copies_that_come_late_are_old_and_no_second_device(told):
    for n in range(1, 60):
        told.say("a", n)
    for n in range(20, 60):
        assert told.say("a", n) == "next", "the number alone decides, and it is lower"
    assert told.last == Word("a", 59)
    assert not told.twice


def test_the_last_will_of_a_boot_that_is_over_changes_nothing(told):
    """It comes when the broker misses it, a minute after the next boot was heard."""
    told.say("a", 5)
    told.say("b", 1)
    for n in range(1, 6):
        assert told.say("a", n, after_s=0.1) == "old"
    assert (told.last, told.twice) == (Word("b", 1), False)


def test_two_boots_that_alternate_are_two_devices_within_a_minute(told):
    """Case I8 of the threat table."""
    told.say("a", 5)
    told.say("b", 1)
    assert (told.say("a", 6, 10), told.twice) == ("returned", False)
    assert (told.say("b", 2, 10), told.twice) == ("returned", True)


def test_boots_that_alternate_over_hours_are_none(told):
    for n in range(10):
        told.say("ab"[n % 2], n, after_s=WINDOW_S + 1)
        assert not told.twice


def test_a_device_that_restarts_again_and_again_is_one(told):
    for n in range(50):
        assert told.say(f"boot-{n}", 1) == "next"
    assert not told.twice


def test_what_is_remembered_of_a_device_is_bounded(told):
    for n in range(1000):
        told.say(f"boot-{n}", n)
        told.say("a", n * (LAG + 2))
    assert max(len(boots) for boots in told.speakers._left.values()) <= MOST_BOOTS
    assert len(told.speakers._behind) <= 1
