"""Records what the int8 model answers on held-out samples, so that a device can prove itself before it commits."""

import numpy as np

from skerry_agent.processing import Array, GoldenSet, preprocess
from skerry_agent.wire.manifest import Preprocess
from skerry_host.build.data import Samples
from skerry_host.build.session import Session


def record(session: Session, samples: Samples, prep: Preprocess, count: int) -> GoldenSet:
    """`count` quantized inputs, spread over the classes, with the model's outputs."""
    chosen = [samples.inputs[i] for i in choose(samples.labels, count)]
    tensors = [preprocess(raw, prep, session.input) for raw in chosen]
    return GoldenSet((np.concatenate(tensors),), outputs_of(session, tensors))


def replay(session: Session, golden: GoldenSet) -> tuple[Array, ...]:
    """The outputs of a model for recorded inputs: one array (N, ...) per output."""
    return outputs_of(session, [golden.sample(i, [session.input])[0] for i in range(len(golden))])


def outputs_of(session: Session, tensors: list[Array]) -> tuple[Array, ...]:
    """One array (N, ...) per output for ready input tensors (1, ...)."""
    rows = [session.run(tensor) for tensor in tensors]
    return tuple(np.concatenate(column) for column in zip(*rows, strict=True))


def choose(labels: Array, count: int) -> list[int]:
    """`count` indices that take the classes in turn, the first samples of each: no class is left out by chance."""
    by_class = [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]
    turns = (row[turn] for turn in range(max(map(len, by_class))) for row in by_class if turn < len(row))
    return [index for index, _ in zip(turns, range(count), strict=False)]
