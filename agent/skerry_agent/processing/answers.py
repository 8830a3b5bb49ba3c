"""From a model's outputs to an answer about the sample, for every task; on host and device. Knows no file and no clock.

A task that is not in the table (`raw`, or one of a later host) has no answer: its outputs are all there is.
"""

from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct

from skerry_agent.processing.arrays import Array
from skerry_agent.processing.classes import Answer, ClassSet, Events, classify, events, several
from skerry_agent.processing.detection import Detections, detect, to_sample
from skerry_agent.processing.image import Placement, place
from skerry_agent.processing.joins import join_outputs
from skerry_agent.processing.masks import Mask, mask_of_sample, segment
from skerry_agent.processing.points import Keypoints, keypoints, points_of_sample
from skerry_agent.processing.scores import output_at
from skerry_agent.processing.sequences import Symbols, read_sequence
from skerry_agent.processing.tensors import dequantize, image_shape
from skerry_agent.wire.manifest import CLASSIFICATION, DETECTION, Bundle, Preprocess, TensorSpec
from skerry_agent.wire.postprocess import Postprocess

EMBEDDING = "embedding"
Size = tuple[int, int]


class Embedding(Struct, frozen=True):
    """The direction of a model's first output: a vector of length 1."""

    vector: tuple[float, ...]


class Numbers(Struct, frozen=True):
    """What a model measures: the numbers of an output, in `unit`."""

    values: tuple[float, ...]
    unit: str = ""


Found = Answer | ClassSet | Detections | Mask | Keypoints | Numbers | Embedding | Symbols | Events


class Frame(Struct, frozen=True):
    """The model's input: its height and width in pixels, and whether its maps come as planes (channels first)."""

    size: Size = (1, 1)
    planes: bool = False


_ONE = Frame()
_PLAIN = Postprocess()


def decode(real: Sequence[Array], task: str, spec: Postprocess = _PLAIN, frame: Frame = _ONE) -> Found | None:
    """The answer in real-valued outputs (1, ...), None for a task that has none; places are in 0..1 of the input.

    Raises `ProcessingError` when outputs do not fit.
    """
    made = _TASKS.get(task)
    return None if made is None else made(real, spec, frame)


def postprocess(
    outputs: Sequence[Array],
    tensors: Sequence[TensorSpec],
    task: str,
    spec: Postprocess = _PLAIN,
    size: Size = (1, 1),
) -> Found | None:
    """The answer in outputs as the model gives them: see `decode`. `size` is the input's height and width in pixels."""
    if task not in _TASKS:
        return None
    real = [dequantize(output, tensor) for output, tensor in zip(outputs, tensors, strict=True)]
    return decode(real, task, spec, Frame(size))


def answer_for(bundle: Bundle, outputs: Sequence[Array], raw: Size) -> Found | None:
    """The answer to a sample of `raw` (height, width) by what its bundle says; places are in 0..1 of the sample."""
    if bundle.task not in _TASKS:
        return None
    parts = [dequantize(output, tensor) for output, tensor in zip(outputs, bundle.outputs, strict=True)]
    real = join_outputs(parts, bundle.joins)
    if bundle.task not in PICTURES:
        return decode(real, bundle.task, bundle.postprocess)
    tensor, prep = bundle.picture
    height, width, _channels = image_shape(prep, tensor)
    frame = Frame((height, width), prep.layout == "nchw")
    found = decode(real, bundle.task, bundle.postprocess, frame)
    assert found is not None
    return of_sample(found, prep, frame.size, raw)


def of_sample(found: Found, prep: Preprocess, size: Size, raw: Size) -> Found:
    """An answer about an input of `size` as one about the sample of `raw` that was made to fit it."""
    at = place(raw, size, prep)
    match found:
        case Detections():
            return found if _fills(at, size) else to_sample(found, at, size)
        case Keypoints():
            return found if _fills(at, size) else points_of_sample(found, at, size)
        case Mask():
            return mask_of_sample(found, at, size, raw)
    return found


def _fills(at: Placement, size: Size) -> bool:
    return (at.top, at.left, at.height, at.width) == (0, 0, *size)


def _embedding(real: Sequence[Array], _spec: Postprocess, _frame: Frame) -> Embedding:
    vector = output_at(real, 0).reshape(-1)
    length = float(np.linalg.norm(vector)) or 1.0
    return Embedding(tuple((vector / length).tolist()))


def _numbers(real: Sequence[Array], spec: Postprocess, _frame: Frame) -> Numbers:
    return Numbers(tuple(output_at(real, spec.output).reshape(-1).tolist()), spec.unit)


_TASKS: dict[str, Callable[[Sequence[Array], Postprocess, Frame], Found]] = {
    CLASSIFICATION: lambda real, spec, _frame: classify(real, spec),
    "multilabel": lambda real, spec, _frame: several(real, spec),
    DETECTION: lambda real, spec, frame: detect(real, spec, frame.size),
    "segmentation": lambda real, spec, frame: segment(real, spec, frame.size, planes=frame.planes),
    "keypoints": lambda real, spec, frame: keypoints(real, spec, frame.size, planes=frame.planes),
    "regression": _numbers,
    EMBEDDING: _embedding,
    "sequence": lambda real, spec, _frame: read_sequence(real, spec),
    "events": lambda real, spec, _frame: events(real, spec),
}
PICTURES = frozenset({DETECTION, "segmentation", "keypoints"})
"""Tasks whose answers have places in a picture."""
