"""Routes over patches: the fewest bytes, one patch or several, never longer than allowed."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.manifest import PatchRef
from skerry_agent.wire.routes import MAX_PATCHES, bytes_of, cheapest


def sha(name):
    return name * 64


def edge(base, new, size):
    return PatchRef(sha(base), sha(new), "model", BlobRef(sha("f"), size))


A_TO_D = [edge("a", "b", 10), edge("b", "c", 10), edge("c", "d", 10), edge("a", "d", 50), edge("b", "d", 15)]


@pytest.mark.parametrize(
    ("held", "expected"),
    [("a", ["b", "d"]), ("b", ["d"]), ("c", ["d"]), ("d", []), ("e", None), ("ac", ["d"])],
)
def test_the_fewest_bytes_win(held, expected):
    route = cheapest(A_TO_D, {sha(name) for name in held}, sha("d"))
    assert (route if route is None else [patch.new_sha256[0] for patch in route]) == expected


def test_of_equal_bytes_the_single_patch_wins():
    patches = [edge("a", "b", 5), edge("b", "c", 5), edge("a", "c", 10)]
    assert cheapest(patches, {sha("a")}, sha("c")) == (patches[2],)


def test_a_route_has_an_end():
    names = "0123456789"
    patches = [edge(a, b, 1) for a, b in itertools.pairwise(names)]
    assert cheapest(patches, {sha("0")}, sha(names[MAX_PATCHES])) is not None
    assert cheapest(patches, {sha("0")}, sha(names[MAX_PATCHES + 1])) is None


@given(st.lists(st.builds(edge, st.sampled_from("abcde"), st.sampled_from("abcde"), st.integers(1, 100)), max_size=12))
def test_a_route_is_connected_and_no_dearer_than_any_single_patch(patches):
    route = cheapest(patches, {sha("a")}, sha("e"))
    direct = [p.blob.size for p in patches if (p.base_sha256, p.new_sha256) == (sha("a"), sha("e"))]
    if route is None:
        assert not direct
        return
    ends = [sha("a"), *(patch.new_sha256 for patch in route)]
    assert [patch.base_sha256 for patch in route] == ends[:-1]
    assert ends[-1] == sha("e")
    assert bytes_of(route) <= min(direct, default=bytes_of(route))
