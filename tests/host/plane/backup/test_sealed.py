"""The seal: what is changed in any way is not read, in one line; its format is pinned by a file."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry_host.plane.backup import sealed
from skerry_host.plane.errors import BackupError, PassphraseError

PHRASE = "five random words of a test"
QUICK = 4
"""log2 of scrypt's N in tests: what it costs to try a passphrase is not what they are about."""
SEALED_CHUNK = sealed.CHUNK_BYTES + sealed.TAG_BYTES


def seal(data: bytes, phrase: str = PHRASE) -> bytes:
    sink = io.BytesIO()
    sealer = sealed.Sealer(sink, phrase, QUICK)
    sealer.write(data)
    sealer.finish()
    return sink.getvalue()


def opened(raw: bytes, phrase: str = PHRASE) -> bytes:
    """What is in it, read in parts as `tarfile` and zstandard do."""
    opener, parts = sealed.Opener(io.BytesIO(raw), phrase, "b"), []
    while part := opener.read(50_000):
        parts.append(part)
    return b"".join(parts)


def refusal(raw: bytes, phrase: str = PHRASE) -> BackupError:
    with pytest.raises(BackupError) as caught:
        opened(raw, phrase)
    assert "\n" not in str(caught.value)
    return caught.value


SIZES = [0, 1, *(n * sealed.CHUNK_BYTES + more for n in (1, 2) for more in (-1, 0, 1))]


@pytest.mark.parametrize("size", SIZES)
def test_what_was_sealed_is_read_again_whatever_its_size(size):
    data = bytes(i % 251 for i in range(size))
    assert opened(seal(data)) == data


@pytest.mark.parametrize("size", SIZES)
def test_one_that_is_cut_off_at_any_chunk_is_refused(size):
    raw = seal(bytes(size))
    ends = {sealed.HEADER_BYTES + n * SEALED_CHUNK for n in range(4)} | {len(raw) - 1, sealed.HEADER_BYTES + 1}
    for end in sorted(end for end in ends if end < len(raw)):
        assert refusal(raw[:end]).code == "damaged"


def test_chunks_that_are_exchanged_repeated_or_left_out_are_refused():
    raw = seal(bytes(4 * sealed.CHUNK_BYTES))
    head, body = raw[: sealed.HEADER_BYTES], raw[sealed.HEADER_BYTES :]
    a, b, c, d = (body[n : n + SEALED_CHUNK] for n in range(0, len(body), SEALED_CHUNK))
    for order in ((b, a, c, d), (a, a, b, c, d), (a, c, d), (a, b, c), (a, b, c, d, d), (d,)):
        assert refusal(head + b"".join(order)).code == "damaged"


def test_a_chunk_of_another_backup_is_refused():
    first, second = seal(b"one", PHRASE), seal(b"two", PHRASE)
    assert refusal(first[: sealed.HEADER_BYTES] + second[sealed.HEADER_BYTES :]).code == "damaged"


RAW = seal(b"content " * 9000)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(RAW) - 1), st.integers(1, 255))
def test_one_with_any_byte_changed_is_refused(place, change):
    raw = bytearray(RAW)
    raw[place] ^= change
    if place == len(sealed.MAGIC) + 1:
        raw[place] = min(raw[place], 30)
    refusal(bytes(raw))


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(raw):
    refusal(raw)
    refusal(sealed.MAGIC + raw)


def test_a_wrong_passphrase_is_said_as_one():
    assert isinstance(refusal(seal(b"x"), "five random words of a text"), PassphraseError)


def test_a_passphrase_is_the_same_however_its_accents_were_typed():
    assert opened(seal(b"x", "caf\u00e9 au lait, deux"), "cafe\u0301 au lait, deux") == b"x"


def test_a_header_cannot_ask_for_more_memory_than_is_right():
    raw = bytearray(seal(b"x"))
    raw[len(sealed.MAGIC) + 1] = 40
    assert refusal(bytes(raw)).code == "damaged"


def test_a_newer_version_is_said_to_be_one():
    raw = bytearray(seal(b"x"))
    raw[len(sealed.MAGIC)] = 2
    assert "version 2" in str(refusal(bytes(raw)))


def test_two_backups_of_the_same_share_no_byte_of_their_chunks():
    first, second = seal(bytes(100)), seal(bytes(100))
    assert first[sealed.PLAIN_BYTES :][:64] != second[sealed.PLAIN_BYTES :][:64]


def test_one_that_was_not_finished_is_not_taken_for_whole():
    sink = io.BytesIO()
    sealer = sealed.Sealer(sink, PHRASE, QUICK)
    sealer.write(bytes(3 * sealed.CHUNK_BYTES))
    sealer.close()
    assert refusal(sink.getvalue()).code == "damaged"
