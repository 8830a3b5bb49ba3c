"""Samples that a build asks for again and again, as they are once they fit the model's inputs: resized and recoloured.

Kept in memory up to a bound, the first that are asked for; the others are read and fitted anew each time, so that no
data set is too large. Scales nothing: candidates of a search differ in that.
"""

from collections.abc import Sequence
from dataclasses import replace
from threading import Lock

import msgspec
import numpy as np

from skerry_agent.processing import Array, Feeding, Sample, SampleSequence, fit_input
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.builder.data.samples import Columns, DataSet, Picked

MOST_BYTES = 64 * 1024**2
"""Of the samples of one set that are kept."""
Shapes = tuple[tuple[int, ...], ...]


class Kept:
    """Raw samples; `fitting` gives them as they fit a model's inputs."""

    def __init__(self, inputs: SampleSequence, most_bytes: int = MOST_BYTES) -> None:
        self._inputs, self._left = inputs, most_bytes
        self._most, self._lock = most_bytes, Lock()
        self._forms: dict[tuple[object, ...], _Fitted] = {}
        self._shapes: dict[int, Shapes] = {}

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, index: int) -> Sample:
        sample = self._inputs[index]
        self._shapes.setdefault(index, tuple(raw.shape for raw in sample))
        return sample

    @property
    def in_memory(self) -> bool:
        """Whether the raw samples are in memory anyway."""
        return isinstance(self._inputs, Columns)

    def shapes(self, index: int) -> Shapes:
        """Of the arrays of one raw sample."""
        return self._shapes[index] if index in self._shapes else tuple(raw.shape for raw in self[index])

    def fitting(self, feeding: Feeding, tensors: Sequence[TensorSpec]) -> SampleSequence:
        """The samples as they fit a model's inputs; the same for inputs that differ in scales and dtypes only."""
        places = feeding.brought(tensors)
        pairs = [(feeding.at(place), tensors[place]) for place in places]
        return self._forms.setdefault(tuple((prep, tensor.shape) for prep, tensor in pairs), _Fitted(self, pairs))

    def takes(self, count: int) -> bool:
        """Whether so many bytes may be kept; they count as kept then."""
        with self._lock:
            able = count <= self._left
            self._left -= count if able else 0
        return able

    def forget(self) -> None:
        """Free what is kept."""
        self._forms, self._left = {}, self._most


class _Fitted:
    """Samples fitted to a model's inputs, each one once where it can be kept."""

    def __init__(self, kept: Kept, pairs: Sequence[tuple[Preprocess, TensorSpec]]) -> None:
        self._kept, self._pairs = kept, pairs
        self._known: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Sample:
        if index in self._known:
            return self._known[index]
        raw = self._kept[index]
        if len(raw) != len(self._pairs):  # whoever feeds it to the model says what is wrong
            return raw
        made = tuple(_fit(one, *pair) for one, pair in zip(raw, self._pairs, strict=True))
        anew = sum(new.nbytes for new, old in zip(made, raw, strict=True) if new is not old or not self._kept.in_memory)
        if anew and self._kept.takes(anew):
            self._known[index] = made
        return made


def fitting(inputs: SampleSequence, feeding: Feeding, tensors: Sequence[TensorSpec]) -> tuple[SampleSequence, Feeding]:
    """Samples as they fit a model's inputs, and what is left to do to them; both as they are where nothing is kept."""
    if isinstance(inputs, Picked):
        whole, left = fitting(inputs.of, feeding, tensors)
        return Picked(whole, inputs.places), left
    if not isinstance(inputs, Kept):
        return inputs, feeding
    preprocesses = tuple(_left_of(prep) for prep in feeding.preprocesses)
    return inputs.fitting(feeding, tensors), msgspec.structs.replace(feeding, preprocesses=preprocesses)


def shapes_of(inputs: SampleSequence, index: int) -> Shapes:
    """Of the arrays of one raw sample: read only where nobody has read it before."""
    if isinstance(inputs, Picked):
        return shapes_of(inputs.of, inputs.places[index])
    return inputs.shapes(index) if isinstance(inputs, Kept) else tuple(raw.shape for raw in inputs[index])


def kept(data: DataSet) -> DataSet:
    """The same samples, to be kept."""
    one, two = data.calibration, data.evaluation
    return replace(
        data, calibration=replace(one, inputs=Kept(one.inputs)), evaluation=replace(two, inputs=Kept(two.inputs))
    )


def forget(data: DataSet) -> None:
    """Free what is kept of a data set."""
    for samples in (data.calibration, data.evaluation):
        if isinstance(samples.inputs, Kept):
            samples.inputs.forget()


def _left_of(prep: Preprocess) -> Preprocess:
    """What is still to be done to a sample that fits."""
    return msgspec.structs.replace(prep, resize="none", color="rgb")


def _fit(raw: Array, prep: Preprocess, tensor: TensorSpec) -> Array:
    """The array itself where it fits as it is; one of no numbers is refused by whoever feeds it to the model."""
    made = fit_input(raw, prep, tensor) if raw.dtype.kind in "uifb" else raw
    return raw if made is raw else np.ascontiguousarray(made)
