"""Blobs as a broker retains them."""

from skerry_agent.fetch.fetcher import Limits
from skerry_agent.wire import topics
from skerry_agent.wire.blobs import describe, digest_list, split

CHUNK = 1024
NO_LIMITS = Limits()


def published(data: bytes, chunk_bytes: int = CHUNK) -> dict[str, bytes]:
    ref = describe(data, chunk_bytes)
    retained = {topics.chunk(ref.sha256, i): chunk for i, chunk in enumerate(split(data, chunk_bytes))}
    if ref.digests_sha256:
        retained[topics.digests(ref.sha256)] = digest_list(data, chunk_bytes)
    return retained
