"""What a model's inputs and answers are usually like: histograms over a build's held-out samples. Data only.

A device fills the same bins (`skerry_agent.processing.drift`); how far apart two histograms are is for others to say.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

MAX_BINS, MAX_HISTOGRAMS = 33, 16
"""So that a manifest grows by about 4 kB at most."""


class Histogram(Struct, frozen=True, omit_defaults=True):
    """How often values of `name` fell into each bin.

    `edges` are the ends between bins, ascending: bin i holds values from edges[i - 1] on and under edges[i], so there
    is one bin more than edges. With `kind` = `classes`, `edges` are classes, and the last bin counts all others.
    """

    name: Annotated[str, Meta(max_length=64)]
    edges: Annotated[tuple[float, ...], Meta(max_length=MAX_BINS - 1)]
    counts: Annotated[tuple[Annotated[int, Meta(ge=0)], ...], Meta(max_length=MAX_BINS)]
    kind: Literal["values", "classes"] = "values"


class DriftBaseline(Struct, frozen=True):
    """Histograms over `samples` held-out samples."""

    samples: Annotated[int, Meta(ge=1)]
    histograms: Annotated[tuple[Histogram, ...], Meta(max_length=MAX_HISTOGRAMS)] = ()
