"""Pieces of blobs on request, for brokers that do not retain chunks: the request, and the format of an answer. Pure.

A device sends requests on its own topic and is answered on one that names it and the blob; nothing is retained. An
answer is raw bytes: the index of the chunk (4, big endian; all ones is the digest list), then the piece. So a device
subscribes to one exact topic per blob, and a piece costs one round trip.
"""

from typing import Annotated

from msgspec import Meta, Struct

from skerry_agent.wire.blobs import MAX_CHUNKS
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import DeviceId, Sha256

Piece = int | None
"""The index of a chunk; None is the digest list."""

MAX_PIECES = 8
MAX_ASK_BYTES = 1024
"""Above the longest question that can be valid."""

HEAD_BYTES = 4
_DIGESTS = 0xFFFFFFFF


class Ask(Struct, frozen=True, omit_defaults=True):
    """A device wants pieces of one blob. Asking again is harmless; who does not know it gives no answer.

    `session` is new whenever a device begins to ask, and when it was left without an answer: how much the host sends
    counts in each of them, so that nothing which was asked in its name before holds it up. Older agents name none.
    """

    device: DeviceId
    sha256: Sha256
    pieces: Annotated[
        tuple[Annotated[int, Meta(ge=0, lt=MAX_CHUNKS)] | None, ...], Meta(min_length=1, max_length=MAX_PIECES)
    ]
    session: Annotated[str, Meta(pattern=r"^[0-9a-f]{0,16}\Z")] = ""


def answer(piece: Piece, data: bytes) -> bytes:
    """The payload that brings a piece."""
    return (_DIGESTS if piece is None else piece).to_bytes(HEAD_BYTES, "big") + data


def parse_answer(raw: bytes) -> tuple[Piece, bytes]:
    """(piece, bytes) of a payload; raises `WireError` when it is too short to be one."""
    if len(raw) < HEAD_BYTES:
        raise WireError("answer", [f"has {len(raw)} B, its head alone {HEAD_BYTES}"])
    index = int.from_bytes(raw[:HEAD_BYTES], "big")
    return None if index == _DIGESTS else index, raw[HEAD_BYTES:]
