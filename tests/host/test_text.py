"""Text from outside: whatever it is, nothing is left of it that only a machine reads."""

import json
import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from skerry_agent.wire.admission import DeviceFacts
from skerry_agent.wire.twin import DeploymentReport, ModelReport, Reported
from skerry_host.json_text import json_text
from skerry_host.text import LIMITS, MOST, MOST_ITEMS, Limit, clean, cleaned
from tests.kit.messages import MESSAGES

REFUSED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
ANY_TEXT = st.text(st.characters(codec="utf-8"))


def is_harmless(text):
    return not any(unicodedata.category(character) in REFUSED for character in text)


class Inner(Struct, frozen=True):
    name: str
    counts: dict[str, int] = {}


class Message(Struct, frozen=True):
    title: str
    number: int = 1
    inner: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = {}
    words: tuple[str, ...] = ()


@given(ANY_TEXT)
def test_what_was_cleaned_is_harmless_and_stays_as_it_is(text):
    once = clean(text)
    assert is_harmless(once)
    assert clean(once) == once
    assert "\n" not in once


def test_what_is_refused_is_seen():
    assert clean("\x1b]0;owned\x07\x1b[2J") == r"\x1b]0;owned\x07\x1b[2J"
    assert clean("\x9b31m") == r"\x9b31m"
    assert clean("a\u202eb\u2066c\u200bd\U000e0041") == r"a\u202eb\u2066c\u200bd\U000e0041"
    assert clean("two\nlines\tand a tab") == "two lines and a tab"
    assert clean("±25 % °C – µJ 大") == "±25 % °C – µJ 大"


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_every_text_of_a_message_is_cleaned_at_any_depth(title, name, key):
    made = cleaned(Message(title, 2, (Inner(name, {key: 3}),), {key: Inner(name)}, (title, key)))
    assert is_harmless(msgspec.json.encode(made).decode())
    assert made.inner[0].counts == {clean(key): 3}
    assert cleaned(made) is made


def test_lengths_are_bounded():
    made = cleaned(Message("x" * 5000, words=("word",) * 9999))
    assert (len(made.title), len(made.words)) == (MOST, MOST_ITEMS)


INVISIBLE = [*range(32), *range(0x7F, 0xA0), *range(0x200B, 0x2010), *range(0x202A, 0x202F), 0x2028, 0xFEFF]
HOSTILE = "".join(map(chr, INVISIBLE))
SENT = ["reported", "reported_refused", "reported_runtime", "reported_ways", "state", "command_result_code"]
SENT += ["telemetry"]


def spots(value, path=()):
    """Where a text stands in plain data, as a path; of mappings the values."""
    if isinstance(value, str):
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from spots(each, (*path, key))


def with_text(value, path, text):
    if not path:
        return text
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = with_text(value[path[0]], path[1:], text)
    return changed


@pytest.mark.parametrize("name", SENT)
def test_every_text_that_a_device_can_say_comes_in_harmless_and_bounded(name):
    """Case T5, for each field of each message: whatever takes free text is cleaned, and no longer than its limit."""
    message = MESSAGES[name]
    plain = msgspec.to_builtins(message, str_keys=True)
    free = 0
    for path in spots(plain):
        try:
            said = msgspec.convert(with_text(plain, path, HOSTILE * 40), type(message))
        except msgspec.ValidationError:  # a name, a word of a list: no free text
            continue
        free += 1
        fields = [part for part in path if isinstance(part, str)]
        kept = msgspec.to_builtins(cleaned(said), str_keys=True)
        for part in path:
            kept = kept[part]
        assert is_harmless(kept), path
        assert len(kept) <= LIMITS.get(fields[-1], Limit()).characters, path
    assert free


def test_the_limits_of_a_twin_are_those_that_are_promised():
    issues = ("x" * 400,) * 50
    deployment = DeploymentReport("d-1", "m@1.0.0", "idle", "failed", "r" * 400, "d" * 4000)
    models = {"m": ModelReport("idle", serving=True, deployment=deployment)}
    made = cleaned(Reported("dev-1", "b" * 99, 1, 1, "a" * 99, "b" * 99, ("cpu",), models, issues))
    assert (len(made.issues), {*map(len, made.issues)}) == (20, {300})
    assert (len(made.agent), len(made.board), len(made.boot)) == (64, 64, 64)
    ended = made.models["m"].deployment
    assert (len(ended.reason), len(ended.detail)) == (200, 1000)


@given(st.dictionaries(ANY_TEXT, ANY_TEXT))
def test_json_means_the_same_and_holds_nothing_that_misleads(data):
    for indent in (None, 2):
        text = json_text(data, indent=indent)
        assert json.loads(text) == data
        assert is_harmless(text.replace("\n", ""))


def test_a_text_that_grows_as_it_is_cleaned_still_fits_its_type():
    """What is stored of a device is read again, by types that say how long a text may be."""
    facts = DeviceFacts(machine="\x1b" * 200, runtimes={"\x1b" * 200: "\x07" * 200})
    made = cleaned(facts)
    assert msgspec.json.decode(msgspec.json.encode(made), type=DeviceFacts) == made
    assert len(made.machine) == 200
