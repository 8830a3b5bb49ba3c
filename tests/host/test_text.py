"""Text from outside: whatever it is, nothing is left of it that only a machine reads."""

import json
import unicodedata

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from skerry_host.json_text import json_text
from skerry_host.text import MOST, MOST_ITEMS, clean, cleaned

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


@given(st.dictionaries(ANY_TEXT, ANY_TEXT))
def test_json_means_the_same_and_holds_nothing_that_misleads(data):
    for indent in (None, 2):
        text = json_text(data, indent=indent)
        assert json.loads(text) == data
        assert is_harmless(text.replace("\n", ""))
