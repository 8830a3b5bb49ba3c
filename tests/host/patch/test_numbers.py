"""Numbers as symbols and low bits."""

import numpy as np

from skerry_agent.patch.rans import Decoder, Rounds
from skerry_agent.patch.reader import Reader
from skerry_agent.patch.section import Section
from skerry_agent.patch.symbols import MAX_NUMBERS, Symbols
from skerry_host.patch.histograms import fit
from skerry_host.patch.rans import encode
from skerry_host.patch.recorder import Recorder
from skerry_host.patch.sections import pack_stored

LANES = 3  # in the middle of which a run of the most numbers ends


def test_more_numbers_than_one_run_holds_are_several_runs_whatever_the_number_of_lanes():
    numbers = np.random.default_rng(0).integers(-1, 2, MAX_NUMBERS + 5)  # all without low bits
    recorder = Recorder()
    recorder.numbers(numbers, 0)
    counts = np.bincount(np.concatenate([symbols for _, symbols in recorder.runs]), minlength=256)
    model = fit(counts[None])
    coded, empty = encode(recorder.runs, model.frequencies, LANES), pack_stored(b"")
    decoder = Decoder(model.codes, Reader(coded), Rounds(1 << 20))
    symbols = Symbols(decoder, Section(Reader(empty)), Section(Reader(empty)))
    assert np.array_equal(symbols.numbers(len(numbers), 0).view(np.int32), numbers)
    symbols.finish()
