"""Damaged bytes for every reader of bytes from outside: a sample here, 200,000 of each with `make fuzz`."""

import contextlib
import os
import signal
import time

import pytest

from tests.fuzz.mutate import mutant
from tests.fuzz.readers import BY_NAME, READERS, Reader
from tests.fuzz.run import fuzz

MUTANTS, OF_SLOW = 800, 150
GROWN_BYTES = 512 << 20


@pytest.mark.parametrize("name", BY_NAME)
def test_damaged_bytes_are_read_or_refused_in_one_line(name, tmp_path):
    count = OF_SLOW if BY_NAME[name].slow else MUTANTS
    found = fuzz(name, range(count), tmp_path)
    assert found.failures == []
    assert found.mutants == count
    assert found.grown_bytes < GROWN_BYTES


IN_THIS_PROCESS = [reader for reader in READERS if reader.name not in {"wav", "foreign", "http"}]
"""Nothing decodes WAV and its like; the server of `http` is a thread, which only a child of its own should start."""


@pytest.mark.parametrize("reader", IN_THIS_PROCESS, ids=lambda reader: reader.name)
def test_a_seed_is_read(reader, monkeypatch):
    """Else all mutants would end at the first look, and show nothing."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    read, good = reader.open(), 0
    for seed in reader.seeds():
        with contextlib.suppress(*reader.refuses):
            read(seed)
            good += 1
    assert good


def test_a_mutant_can_be_made_again():
    seeds = BY_NAME["npy"].seeds()
    assert mutant("npy", 7, seeds) == mutant("npy", 7, seeds)
    assert len({mutant("npy", number, seeds) for number in range(200)}) > 150


def _raise(error):
    raise error


FAULTS = {
    "TypeError": lambda: _raise(TypeError("x")),
    "more than one line": lambda: _raise(ValueError("two\nlines")),
    "SIGSEGV": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "the process was ended": lambda: os._exit(3),
    "MemoryError": lambda: bytearray(4 << 30),
    "HangError": lambda: time.sleep(60),
}


@pytest.fixture
def broken():
    """Put a reader into the table that goes wrong at its 26th mutant."""

    def add(fault):
        numbers = iter(range(1 << 30))

        def read(_raw):
            if next(numbers) == 25:
                fault()

        BY_NAME["broken"] = Reader("broken", lambda: [b"seed"], lambda: read, (ValueError,))

    yield add
    BY_NAME.pop("broken", None)


@pytest.mark.parametrize("words", FAULTS)
def test_a_reader_that_goes_wrong_is_found_and_its_mutant_saved(words, tmp_path, broken):
    """A fuzz that finds nothing must be one that would have found it."""
    broken(FAULTS[words])
    found = fuzz("broken", range(50), tmp_path, hang_s=0.3)
    assert found.failures
    assert words in found.failures[0]
    assert (tmp_path / "broken-25.bin").read_bytes() == mutant("broken", 25, [b"seed"])
    assert found.mutants == 50
