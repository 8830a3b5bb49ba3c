"""Codecs `full` and `zstd`: the new file compressed on its own, or with pieces of the old one as dictionaries.

`full` is one section. `zstd` is a sequence of blocks, each a magicless frame whose dictionary is a slice of the old
file: so memory stays bounded for a file of any size. Neither knows anything about models.
"""

from typing import Final

import zstandard

from skerry_agent.patch.errors import damaged
from skerry_agent.patch.reader import Reader
from skerry_agent.patch.section import Section
from skerry_agent.patch.sink import BLOCK, Sink

MAX_BLOCK: Final = 1 << 20
MAX_DICTIONARY: Final = 1 << 20


def apply_full(reader: Reader, sink: Sink) -> None:
    """Unpack the one section of a `full` patch into `sink`."""
    section = Section(reader)
    while section.left:
        sink.put(section.read(min(BLOCK, section.left)))
    section.finish()


def apply_zstd(old: memoryview, reader: Reader, sink: Sink) -> None:
    """Unpack blocks until `sink` has all its bytes."""
    while sink.left:
        start = reader.varint(len(old))
        dictionary = old[start : start + reader.varint(min(MAX_DICTIONARY, len(old) - start))]
        size = reader.varint(min(MAX_BLOCK, sink.left))
        sink.put(_unpack(reader.take(reader.varint(reader.left)), dictionary, size))


def _unpack(frame: memoryview, dictionary: memoryview, size: int) -> bytes:
    if not size:
        raise damaged("a block is empty")
    base = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    decoder = zstandard.ZstdDecompressor(
        dict_data=base if len(dictionary) else None,
        max_window_size=MAX_BLOCK,
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
    )
    try:
        with decoder.stream_reader(frame) as stream:
            block = stream.read(size)
            extra = stream.read(1)
    except zstandard.ZstdError as error:
        raise damaged(f"a block does not unpack ({error})") from None
    if len(block) != size or extra:
        raise damaged("a block does not have the length in its header")
    return block
