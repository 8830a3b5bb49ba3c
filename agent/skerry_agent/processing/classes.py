"""Answers that are classes: one of them, several, or several at each time. Knows no quantization and no runtime."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from skerry_agent.processing.arrays import Array
from skerry_agent.processing.errors import ProcessingError
from skerry_agent.processing.scores import activated, as_table, output_at, without_background
from skerry_agent.wire.postprocess import Postprocess


class Answer(Struct, frozen=True):
    """What a classifier says of one sample: the index of its largest output, and that output as a real value."""

    index: int
    score: float

    @property
    def label(self) -> str:
        """The bin of the output histogram that this answer counts in."""
        return str(self.index)


class ClassSet(Struct, frozen=True):
    """The classes that a sample has, with their scores, the highest first."""

    found: tuple[Answer, ...]


class Event(Struct, frozen=True):
    """A class from `start` to `end`, in 0..1 of the sample, with its highest score in between."""

    index: int
    score: float
    start: float
    end: float


class Events(Struct, frozen=True):
    """What happens in a sample, the first first."""

    found: tuple[Event, ...]


def classify(outputs: Sequence[Array], spec: Postprocess) -> Answer:
    """The class of one sample."""
    if spec.decoder != "classes":
        flat = output_at(outputs, 0).reshape(-1)
        index = int(flat.argmax())
        return Answer(index, float(flat[index]))
    scores = class_scores(output_at(outputs, spec.output), spec)
    index = int(chosen(scores, spec.min_score)[0])
    single = scores.shape[1] == 1
    return Answer(index, float(scores[0, 0] if single else scores[0, index]))


def class_scores(output: Array, spec: Postprocess) -> Array:
    """The scores (N, classes) of an output (N, ...), without the class that means nothing."""
    rows = output.reshape(len(output), -1)
    if spec.decoder == "classes" and spec.background is not None and rows.shape[1] == 2:
        raise ProcessingError("postprocess.background leaves one class of 2: leave it out, and name labels.negative")
    single = rows.shape[1] == 1 and spec.activation == "softmax"  # of one value it is always 1
    return without_background(activated(rows, "sigmoid" if single else spec.activation), spec.background)


def chosen(scores: Array, min_score: float) -> Array:
    """The class of each row (N, classes): the best, or of a single score whether it reaches `min_score`."""
    if scores.shape[1] == 1:
        reached: Array = (scores[:, 0] >= min_score).astype(np.int64)
        return reached
    best: Array = scores.argmax(axis=1)
    return best


def several(outputs: Sequence[Array], spec: Postprocess) -> ClassSet:
    """All classes of one sample that reach `min_score`."""
    scores = class_scores(output_at(outputs, spec.output), spec)[0]
    order = np.argsort(-scores, kind="stable")
    return ClassSet(tuple(Answer(int(i), float(scores[i])) for i in order if scores[i] >= spec.min_score))


def frames(output: Array, spec: Postprocess) -> Array:
    """The scores (frames, classes) of one sample; a single row where it has no frames."""
    table = (
        output.reshape(1, -1) if output.ndim < 3 else as_table(output, spec.rows or "first", f"output {spec.output}")
    )
    return without_background(activated(table, spec.activation), spec.background)


def events(outputs: Sequence[Array], spec: Postprocess) -> Events:
    """Every run of frames in which a class reaches `min_score`."""
    scores = frames(output_at(outputs, spec.output), spec)
    count = len(scores)
    if not scores.size:
        raise ProcessingError(f"output {spec.output} holds no frames")
    heard = np.zeros((count + 2, scores.shape[1]), np.int8)
    heard[1:-1] = scores >= spec.min_score
    change = np.diff(heard, axis=0)
    starts, ends = np.argwhere(change.T == 1), np.argwhere(change.T == -1)
    found = [
        Event(int(index), float(scores[start:end, index].max()), start / count, end / count)
        for (index, start), (_same, end) in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
    return Events(tuple(sorted(found, key=lambda event: (event.start, event.index))))
