"""Blobs on disk: a part becomes a blob only as the whole that was promised."""

import pytest
from msgspec.structs import replace

from skerry_agent.state.blobs import BlobStore
from skerry_agent.state.disk import DiskError
from skerry_agent.wire.blobs import describe, digest_list, parse_digests, split

DATA = bytes(i * 7 % 251 for i in range(5000))


def test_chunks_that_fit_but_make_another_whole_are_no_blob(tmp_path):
    """Each chunk has the digest that its list says, and the list is of another blob than its reference says."""
    store, ref = BlobStore(tmp_path), describe(DATA, 1024)
    digests = parse_digests(ref, digest_list(DATA, 1024))
    other = replace(ref, sha256="0" * 64)
    part = store.open_part(other, digests)
    for index, chunk in enumerate(split(DATA, 1024)):
        part.write(index, chunk)
    with pytest.raises(DiskError, match="does not have its hash"):
        part.finish(store.path(other.sha256))
    assert not list(tmp_path.iterdir())
