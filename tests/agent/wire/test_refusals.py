"""What is malformed is refused, with every issue listed, and never crashes the reader."""

import json
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.wire import codec, topics
from skerry_agent.wire.blobs import BlobRef, describe, digest_list, parse_digests, split
from skerry_agent.wire.envelope import Envelope, signing_bytes
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.manifest import Release
from skerry_agent.wire.names import check_device_id, release_name, split_release
from skerry_agent.wire.sketch import Recorder, Sketch
from skerry_agent.wire.telemetry import Report
from skerry_agent.wire.twin import BaseUrl, Command, Desired, DeviceState, Reported

KINDS = [Desired, Reported, DeviceState, Command, Report, Release, Envelope]


def test_all_issues_are_reported_at_once():
    raw = b'{"device":"UPPER","generation":0,"assignments":[{"model":"../x","release":"nope"},7]}'
    with pytest.raises(WireError) as refused:
        codec.decode(raw, Desired)
    paths = [issue.split(":")[0] for issue in refused.value.issues]
    assert paths == [
        "device",
        "generation",
        "issued",
        "assignments[0].model",
        "assignments[0].release",
        "assignments[0].target",
        "assignments[0].manifest",
        "assignments[0].deployment",
        "assignments[1]",
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"device":' * 5000,
        b'{"device":1e999}',
        b"1" * 5000,
        b'[{"a":"\xff"}]',
    ],
    ids=[
        "empty",
        "null",
        "list",
        "torn",
        "not utf-8",
        "deep lists",
        "deep",
        "infinite",
        "huge number",
        "late not utf-8",
    ],
)
def test_nonsense_is_refused(kind, raw):
    with pytest.raises(WireError):
        codec.decode(raw, kind)


@pytest.mark.parametrize("kind", KINDS)
@given(
    raw=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["device", "generation", "assignments", "models", "payload", "schema", "x"]),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_comes_is_refused_or_understood(kind, raw):
    try:
        message = codec.decode(raw, kind)
    except WireError:
        return
    assert codec.decode(codec.encode(message), kind) == message


def test_an_oversize_message_is_refused_before_it_is_parsed():
    with pytest.raises(WireError, match="over the limit"):
        codec.decode(b" " * (codec.MAX_MESSAGE_BYTES + 1), Desired)


@pytest.mark.parametrize(
    "name", ["ab", "a" * 42, "Shelf-01", "a/b", "a+b", "a#b", "../x", "a b", "", "shelf\n", "sh\0elf"]
)
def test_a_device_id_cannot_harm_a_topic(name):
    with pytest.raises(WireError, match="3 to 41 characters of a-z, 0-9 and -"):
        check_device_id(name)
    with pytest.raises(WireError):
        topics.desired(name)


@pytest.mark.parametrize("version", ["1", "1.0", "v1.0.0", "1.0.0/..", "1.0.0 ", "1.0.0-", ""])
def test_a_release_is_named_by_three_numbers(version):
    with pytest.raises(WireError, match=r"MODEL@MAJOR\.MINOR\.PATCH"):
        release_name("fashion", version)


def test_a_release_name_splits_into_what_it_was_made_of():
    assert split_release(release_name("fashion", "1.2.3-rc.1")) == ("fashion", "1.2.3-rc.1")


def test_topics_have_at_most_seven_slashes():
    device = "a" * 41
    made = [topics.state, topics.desired, topics.reported, topics.command, topics.command_result, topics.telemetry]
    names = [make(device) for make in made] + [topics.chunk("f" * 64, 4095), topics.digests("f" * 64)]
    assert max(name.count("/") for name in names) <= 7
    assert {topics.device_of(make(device)) for make in made} == {device}


@given(data=st.binary(max_size=5000), chunk=st.integers(1024, 2048))
def test_a_blob_is_the_sum_of_its_chunks(data, chunk):
    ref = describe(data, chunk)
    chunks = list(split(data, chunk))
    assert b"".join(chunks) == data
    assert len(chunks) == ref.chunks
    assert [len(c) for c in chunks] == [ref.chunk_size(i) for i in range(ref.chunks)]
    if ref.digests_sha256:
        assert len(parse_digests(ref, digest_list(data, chunk))) == ref.chunks


def test_a_digest_list_of_another_blob_is_refused():
    ref = describe(bytes(5000), 1024)
    with pytest.raises(WireError, match="not the list of blob"):
        parse_digests(ref, digest_list(b"x" * 5000, 1024))


@pytest.mark.parametrize("size", [-1, 2**40])
def test_a_blob_of_an_impossible_size_is_refused(size):
    raw = json.dumps({"sha256": "a" * 64, "size": size}).encode()
    with pytest.raises(WireError, match="size"):
        codec.decode(raw, BlobRef)


def test_what_is_signed_names_its_type():
    assert signing_bytes("a", b"bc") != signing_bytes("ab", b"c")


@given(values=st.lists(st.floats(0.001, 1e9), min_size=1, max_size=200), cut=st.integers(0, 200))
def test_a_sketch_is_within_one_percent_and_merges(values, cut):
    whole, left, right = Recorder(), Recorder(), Recorder()
    for i, value in enumerate(values):
        whole.add(value)
        (left if i < cut else right).add(value)
    sketch = whole.take()
    merged = left.take().merged(right.take())
    assert merged.buckets == sketch.buckets
    assert sketch.count == len(values)
    for q in (0.0, 0.5, 0.95, 1.0):
        exact = sorted(values)[int(q * (len(values) - 1))]
        assert sketch.quantile(q) == pytest.approx(exact, rel=0.0101)


def test_an_empty_sketch_has_no_quantile():
    assert Sketch().quantile(0.5) is None
    assert Sketch().mean is None


BASES = ["http://h", "http://h:8091/blobs", "https://a.b-c.d_e/x~y/", "http://[::1]:80/b", "http://10.0.0.1:65535"]
NO_BASES = [
    "", "h", "ftp://x/y", "http://", "http://[abc", "http://[abc]", "http://h:99999", "http://h:65536", "http://h:0",
    "http://h:", "http://a..b", "http://.a", "http://h/x y", "http://h/?q", "http://u@h", "http://h/\n",
    "http://h/" + "x" * 300,
]  # fmt: skip


@pytest.mark.parametrize(("url", "good"), [*((url, True) for url in BASES), *((url, False) for url in NO_BASES)])
def test_an_address_of_blobs_is_one_that_can_be_asked(url, good):
    """What is taken here is parsed by a device each time that it starts."""
    if good:
        assert msgspec.convert(url, BaseUrl) == url
        assert urlsplit(url).hostname
    else:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(url, BaseUrl)


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 5000])
def test_a_number_that_python_refuses_to_show_is_refused_in_one_line(number):
    """TOML has numbers of any length, Python shows none of over 4,300 digits."""
    with pytest.raises(WireError) as refused:
        codec.convert(codec.parse_toml(f"generation = {number}\nissued = {number}".encode()), Desired)
    assert "\n" not in str(refused.value)


def test_toml_that_is_a_thousand_brackets_deep_is_refused_in_one_line():
    with pytest.raises(WireError, match="not TOML"):
        codec.parse_toml(b"a = " + b"[" * 5000)
