"""What all tasks share: what an evaluation gives, and the form of a task's rules. Knows no task.

With truth, answers are compared with it; without, with the float model's answers: then a figure shows what quantization
changed, not how good the model is, and its name says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from skerry_agent.processing import Array, image_shape
from skerry_agent.wire.manifest import Figure, Preprocess
from skerry_host.builder.modelfile.graph import Graph
from skerry_host.builder.recipe.recipe import Task

Size = tuple[int, int]
"""Height and width in pixels."""
Outputs = Sequence[Array]
"""Real values of each output (N, ...), in the source's order."""
Truth = Sequence[Any] | Array
"""What is right for each of N samples, in the task's form."""
_PLAIN = Preprocess()


@dataclass(frozen=True, slots=True)
class Measure:
    """What one evaluation gives: the task's metric, and further figures of it.

    `marks` (N,) say of each sample whether it is right, where `value` is their mean; None where it takes all samples.
    `figures` are further ones, of this model: `int8_value` holds the value, whatever the model is. `chance` is what
    guessing would reach on these samples, None where that has no meaning. `unit` is empty for shares.
    """

    metric: str
    value: float
    better: Literal["higher", "lower"] = "higher"
    unit: str = ""
    marks: Array | None = None
    interval: tuple[float, float] | None = None
    figures: tuple[Figure, ...] = ()
    chance: float | None = None


@dataclass(frozen=True, slots=True)
class View:
    """How samples lie in the model's input, which has `size`: what makes an answer one about the sample.

    `samples` has the size of each sample; empty: each fills the input.
    """

    size: Size = (1, 1)
    preprocess: Preprocess = _PLAIN
    samples: Sequence[Size] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """What outputs mean, and how the samples lie in the input."""

    meaning: Task
    view: View


class Expected(Protocol):
    """What is right for N samples, such as `Samples` themselves: see there."""

    @property
    def truth(self) -> Truth | None:
        """What is right for each sample, in the task's form; None where nobody has said."""

    @property
    def reference(self) -> tuple[Array, ...] | None:
        """Real-valued outputs (N, ...) of the float model."""

    def __len__(self) -> int:
        """N."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is right for some samples."""

    truth: Truth | None
    reference: tuple[Array, ...] | None
    samples: int

    def __len__(self) -> int:
        return self.samples


@dataclass(frozen=True, slots=True)
class TaskRules:
    """What one task measures.

    `judge` compares with truth, None where nothing can be said by it; `agree` with the float model's outputs.
    `one_by_one`: each sample is right or wrong whatever the others are. `require` raises `RecipeError` for outputs that
    agree with anything, `seen` says whether there is something already.
    """

    agree: Callable[[Outputs, Outputs, Case], Measure]
    judge: Callable[[Outputs, Truth, Case], Measure] | None = None
    agreement: str = "agreement"
    one_by_one: bool = True
    require: Callable[[Outputs, Case], None] | None = None
    seen: Callable[[Outputs, Case], bool] | None = None


def share(metric: str, marks: Array, chance: float | None = None) -> Measure:
    """The share of samples that are right, by `marks` (N,)."""
    return Measure(metric, float(np.mean(marks)), marks=marks, chance=chance)


def flat(output: Array) -> Array:
    """An output (N, ...) with one row for each sample."""
    rows: Array = output.reshape(len(output), -1)
    return rows


def input_size(graph: Graph, prep: Preprocess) -> Size:
    """Height and width of the model's first input, 1 x 1 if it takes no image."""
    tensor = graph.input_specs()[0]
    if len(tensor.shape) != 4:
        return 1, 1
    height, width, _channels = image_shape(prep, tensor)
    return height, width
