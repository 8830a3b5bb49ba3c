"""Sequences: the symbols that a model reads, by connectionist temporal classification. Knows no label.

The best symbol of each time, equal neighbours once, without blanks (Graves et al., ICML 2006, "best path").
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from skerry_agent.processing.arrays import Array
from skerry_agent.processing.errors import ProcessingError
from skerry_agent.processing.scores import activated, as_table, output_at
from skerry_agent.wire.postprocess import Postprocess


class Symbols(Struct, frozen=True):
    """What was read: places in the list of labels, which has no blank, and the mean of their scores (0 of none)."""

    indices: tuple[int, ...]
    score: float

    def text(self, names: Sequence[str]) -> str:
        """The labels one after the other; a symbol without one is its number in brackets."""
        return "".join(names[i] if i < len(names) else f"[{i}]" for i in self.indices)


def read_sequence(outputs: Sequence[Array], spec: Postprocess) -> Symbols:
    """The symbols of one sample. Raises `ProcessingError` when the output is no table of times and symbols."""
    table = as_table(output_at(outputs, spec.output), spec.rows or "first", f"output {spec.output}")
    blank = table.shape[1] - 1 if spec.blank == -1 else spec.blank
    if not table.size or blank >= table.shape[1]:
        raise ProcessingError(f"postprocess.blank is symbol {blank}, output {spec.output} has {table.shape[1]}")
    scores = activated(table, spec.activation)
    best = scores.argmax(axis=1)
    first = np.flatnonzero((best != blank) & (np.diff(best, prepend=-1) != 0))
    symbols = best[first]
    score = float(scores[first, symbols].mean()) if len(first) else 0.0
    return Symbols(tuple((symbols - (symbols > blank)).tolist()), score)
