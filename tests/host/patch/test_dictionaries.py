"""Which sections of a patch may have a large dictionary: what is open at a time must fit a device's memory."""

import numpy as np
import pytest

from skerry_agent.patch.program import Origin
from skerry_agent.patch.reader import Reader
from skerry_agent.patch.section import DICTIONARIES, STORED
from skerry_host.patch.sections import pack_section
from skerry_host.patch.writer import Writer

SMALL, LARGE = sorted(DICTIONARIES)
TEXT = (np.random.default_rng(1).integers(1, 9, DICTIONARIES[SMALL] + 5000)).astype(np.uint8)
NAMES = ("table", "runs", "diff", "literal", "escapes", "bits")


def dictionaries(payload: bytes) -> dict[str, int]:
    reader, found = Reader(payload), {}
    for name in NAMES:
        method, size = reader.byte(), reader.varint()
        reader.take(size if method == STORED else reader.varint())
        found[name] = method & 0xF
    return found


@pytest.mark.parametrize(("contexts", "diff"), [(0, LARGE), (1, SMALL)])
def test_beside_coded_symbols_only_literal_has_a_large_dictionary(contexts: int, diff: int) -> None:
    old = bytes(len(TEXT))
    writer = Writer(len(old))
    if contexts:
        writer.vector(Origin.RESIDUAL, 2, 0, (0,))
        writer.recorder.numbers(np.array([1, -2]), 0)
    writer.insert(TEXT.tobytes())
    writer.add(0, TEXT)
    found = dictionaries(writer.pack(contexts, [], [], old).payload)
    assert (found["literal"], found["diff"]) == (LARGE, diff)


@pytest.mark.parametrize(("lean", "dictionary"), [(False, LARGE), (True, SMALL)])
def test_a_lean_section_has_the_small_one(lean: bool, dictionary: int) -> None:
    assert pack_section(TEXT.tobytes(), lean=lean)[0] & 0xF == dictionary
    assert pack_section(TEXT.tobytes()[:100], lean=lean)[0] & 0xF in {STORED, SMALL}
