"""Questions for pieces and their answers: what is refused, and that bytes come back as they were sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.wire import codec
from skerry_agent.wire.asking import HEAD_BYTES, MAX_ASK_BYTES, Ask, answer, parse_answer
from skerry_agent.wire.blobs import MAX_CHUNKS
from skerry_agent.wire.errors import WireError

SHA = "a" * 64


@given(piece=st.none() | st.integers(0, MAX_CHUNKS - 1), data=st.binary(max_size=200))
def test_an_answer_comes_back_as_it_went(piece, data):
    assert parse_answer(answer(piece, data)) == (piece, data)


def test_the_head_of_an_answer_is_pinned():
    assert answer(258, b"x") == b"\x00\x00\x01\x02x"
    assert answer(None, b"") == b"\xff\xff\xff\xff"


@given(raw=st.binary(max_size=HEAD_BYTES - 1))
def test_too_short_an_answer_is_refused(raw):
    with pytest.raises(WireError):
        parse_answer(raw)


@pytest.mark.parametrize("pieces", [(), (-1,), (MAX_CHUNKS,), tuple(range(9)), ("0",), (1.5,), (True,)], ids=str)
def test_a_question_out_of_bounds_is_refused(pieces):
    with pytest.raises(WireError):
        codec.decode(codec.encode({"device": "dev-1", "sha256": SHA, "pieces": pieces}), Ask)


def test_the_longest_question_is_below_the_limit():
    assert len(codec.encode(Ask("d" * 41, SHA, (4095,) * 8, "f" * 16))) < MAX_ASK_BYTES


@pytest.mark.parametrize("session", ["f" * 17, "F", "../x", "a\n", 1, None], ids=str)
def test_a_session_is_a_short_number(session):
    with pytest.raises(WireError):
        codec.decode(codec.encode({"device": "dev-1", "sha256": SHA, "pieces": [0], "session": session}), Ask)
