"""What all tasks share: what an evaluation gives, and the form of a task's rules. Knows no task.

With truth, answers are compared with it; without, with the float model's answers: then a figure shows what quantization
changed, not how good the model is, and its name says so.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from skerry_agent.processing import (
    PICTURES,
    Array,
    Feeding,
    Frame,
    ProcessingError,
    SampleSequence,
    decode,
    image_shape,
    of_sample,
)
from skerry_agent.wire.manifest import Figure, Preprocess, TensorSpec
from skerry_host.builder.data.kept import shapes_of
from skerry_host.builder.judge.intervals import bootstrapped
from skerry_host.builder.modelfile.graph import Graph
from skerry_host.builder.recipe.errors import RecipeError
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
    guessing would reach on these samples, None where that has no meaning. `unit` is empty for shares. `over` is the
    value of some of the samples, by index (they may repeat), without decoding anything again.
    `one_answer` is what always giving the commonest answer would reach, None where the metric cannot say.
    """

    metric: str
    value: float
    better: Literal["higher", "lower"] = "higher"
    unit: str = ""
    marks: Array | None = None
    interval: tuple[float, float] | None = None
    figures: tuple[Figure, ...] = ()
    chance: float | None = None
    over: Callable[[Array], float] | None = None
    one_answer: float | None = None


class SampleSizes:
    """Height and width of each sample's picture; one is read when it is asked for, and then remembered."""

    def __init__(self, inputs: SampleSequence = (), at: int = 0) -> None:
        self._inputs, self._at, self._known = inputs, at, dict[int, Size]()
        self._places: Sequence[int] | Array = range(len(inputs))

    def only(self, places: Sequence[int] | Array) -> "SampleSizes":
        """Those of some samples, in this order."""
        other = SampleSizes(self._inputs, self._at)
        other._places, other._known = [self._places[place] for place in places] if len(self) else (), self._known
        return other

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Size:
        place = int(self._places[index])
        if place not in self._known:
            shape = shapes_of(self._inputs, place)[self._at]
            shape = shape[1:] if len(shape) == 4 else shape  # a batch of 1 is as good as none
            self._known[place] = (shape[0], shape[1]) if len(shape) > 1 else (1, 1)
        return self._known[place]


_NO_SIZES = SampleSizes()


@dataclass(frozen=True, slots=True)
class View:
    """How samples lie in the model's input, which has `size`: what makes an answer one about the sample.

    `samples` has the size of each sample; empty: each fills the input.
    """

    size: Size = (1, 1)
    preprocess: Preprocess = _PLAIN
    samples: SampleSizes = _NO_SIZES


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


Classes = Sequence[frozenset[int]]
"""The classes that each sample's answer, or truth, shows."""


@dataclass(frozen=True, slots=True)
class TaskRules:
    """What one task measures.

    `judge` compares with truth, None where nothing can be said by it; `agree` with the float model's outputs, by a
    metric called `agreement`. `one_by_one`: each sample is right or wrong whatever the others are; `by_sample`: at
    least beside the float model's. `require` raises `RecipeError` for outputs that agree with anything, `seen` says
    whether there is something already. `classes` are those that answers show, `truth_classes` those that truth has;
    None where there are none.
    """

    agree: Callable[[Outputs, Outputs, Case], Measure]
    judge: Callable[[Outputs, Truth, Case], Measure] | None = None
    agreement: str = "agreement"
    one_by_one: bool = True
    by_sample: bool = True
    require: Callable[[Outputs, Case], None] | None = None
    seen: Callable[[Outputs, Case], bool] | None = None
    classes: Callable[[Outputs, Case], Classes] | None = None
    truth_classes: Callable[[Truth], Classes] | None = None


def pooled(metric: str, over: Callable[[Array], float], samples: int, **more: Any) -> Measure:
    """A metric that is no mean of samples that are right or wrong, with its interval by bootstrap."""
    interval = more.pop("interval", None) or bootstrapped(over, samples)
    return Measure(metric, over(np.arange(samples)), interval=interval, over=over, **more)


def figure(name: str, value: float, better: Literal["higher", "lower"] = "higher", unit: str = "") -> Figure:
    """A further figure of one model."""
    return Figure(name, None, float(value), better, unit)


def unfit(issue: str, hint: str = "") -> RecipeError:
    """What [postprocess] says does not fit the model, or the data."""
    hint = hint or "check its keys against the model's outputs, and that the samples show what the model is for"
    return RecipeError("[postprocess]", [issue], hint=hint, code="postprocess")


def chosen_output(outputs: Outputs, case: Case) -> Array:
    """The output (N, ...) that [postprocess] names. Raises `RecipeError` (postprocess) where there is none."""
    place = case.meaning.postprocess.output
    if place >= len(outputs):
        raise unfit(f"output: the model has {len(outputs)} outputs, none with number {place}")
    return outputs[place]


def one_sample(outputs: Outputs, at: int) -> list[Array]:
    """The outputs (1, ...) of one sample."""
    return [output[at : at + 1] for output in outputs]


def answers(outputs: Outputs, case: Case) -> Iterator[Any]:
    """What the device answers to each sample, about the sample. Raises `RecipeError` (postprocess) where it cannot."""
    if isinstance(outputs, Remembered) and case.meaning.name in _SMALL and len(outputs[0]) <= MOST_REMEMBERED:
        yield from outputs.read(case)
    else:
        yield from _answers(outputs, case)


_SMALL = {"detection", "keypoints"}
"""Tasks whose answers take long to read and little memory."""
MOST_REMEMBERED = 2048
"""Samples whose answers are remembered."""


class Remembered(tuple[Array, ...]):  # noqa: SLOT001  (a tuple has no room for what is remembered)
    """Outputs (N, ...) that other models' are compared with, and what was last read from them: it is read once."""

    _last: tuple[tuple[Any, ...], list[Any]] | None = None

    def read(self, case: Case) -> list[Any]:
        """What the device answers to each sample."""
        view = case.view
        key = (case.meaning, view.size, view.preprocess, [view.samples[at] for at in range(len(view.samples))])
        if self._last is None or self._last[0] != key:
            self._last = key, list(_answers(self, case))
        return self._last[1]


def _answers(outputs: Outputs, case: Case) -> Iterator[Any]:
    meaning, view = case.meaning, case.view
    frame = Frame(view.size, view.preprocess.layout == "nchw")
    for at in range(len(outputs[0])):
        try:
            found = decode(one_sample(outputs, at), meaning.name, meaning.postprocess, frame)
        except ProcessingError as error:
            raise unfit(f"it does not fit the model: {error.message}") from None
        if found is not None and meaning.name in PICTURES and len(view.samples):
            found = of_sample(found, view.preprocess, view.size, view.samples[at])
        yield found


def share(metric: str, marks: Array, chance: float | None = None, figures: tuple[Figure, ...] = ()) -> Measure:
    """The share of samples that are right, by `marks` (N,)."""
    return Measure(metric, float(np.mean(marks)), marks=marks, chance=chance, figures=figures)


def flat(output: Array) -> Array:
    """An output (N, ...) with one row for each sample."""
    rows: Array = output.reshape(len(output), -1)
    return rows


def input_size(graph: Graph, feeding: Feeding) -> Size:
    """Height and width of the model's first image, 1 x 1 if it takes none."""
    place = _image(graph.input_specs(), feeding)
    return (1, 1) if place is None else _size_of(graph, feeding, place)


def picture_preprocess(feeding: Feeding) -> Preprocess:
    """The preprocessing of the input whose maps come as planes, if there is one, else of the first input."""
    return next((one for one in feeding.preprocesses if one.layout == "nchw"), feeding.at(0))


def view_of(graph: Graph, feeding: Feeding, samples: "Pictures") -> View:
    """How samples lie in a model's first image."""
    tensors = graph.input_specs()
    place = _image(tensors, feeding)
    if place is None:
        return View()
    at = feeding.brought(tensors).index(place)
    return View(_size_of(graph, feeding, place), feeding.at(place), SampleSizes(samples.inputs, at))


class Pictures(Protocol):
    """Samples, of which only the inputs are looked at."""

    @property
    def inputs(self) -> SampleSequence:
        """Raw arrays by sample."""


def _image(tensors: Sequence[TensorSpec], feeding: Feeding) -> int | None:
    """The one that the device takes, too: maps that are fed back are no picture."""
    return next((place for place in feeding.brought(tensors) if len(tensors[place].shape) == 4), None)


def _size_of(graph: Graph, feeding: Feeding, place: int) -> Size:
    height, width, _channels = image_shape(feeding.at(place), graph.input_specs()[place])
    return height, width
