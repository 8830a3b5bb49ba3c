"""The metric of each task: which samples are answered correctly. Pure: outputs and what is right in, truth values out.

With labels an answer is compared with them, without with the float model's: then it shows what quantization changed,
not how good the model is, and the metric's name says so. A detector that finds no box at all is refused.
"""

from collections.abc import Callable, Sequence

import numpy as np

from skerry_agent.processing import Array, Detections, Feeding, ProcessingError, image_shape, iou, postprocess
from skerry_agent.wire.manifest import TensorSpec
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.modelfile.graph import Graph
from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.recipe import Task

MIN_COSINE = 0.95
"""Cosine above which two embeddings, or raw outputs, count as the same."""
SAME_BOX = 0.5
"""Intersection over union above which two boxes are of the same thing (PASCAL VOC)."""

Size = tuple[int, int]
Outputs = Sequence[Array]


def mark_correct(outputs: Outputs, expected: Samples, task: Task, size: Size) -> tuple[str, Array]:
    """The metric's name, and which of the real-valued outputs (N, ...) are right; `size` is the input's in pixels.

    Without truth and reference the outputs are the measure themselves: all are right. Raises `RecipeError`
    (postprocess) when they are boxes that nothing can be compared with.
    """
    if has_measure(expected, task):
        name, mark = _LABELLED[task.name]
        return name, mark(outputs[0].reshape(len(expected), -1), expected.classes)
    name, agree = _AGREEMENT[task.name]
    if expected.reference is None:
        require_boxes(outputs, task, size)
        return name, np.ones(len(expected), bool)
    return name, agree(outputs, expected.reference, task, size)


def has_measure(expected: Samples, task: Task) -> bool:
    """Whether labels say what is right, so that no float model is needed."""
    return expected.truth is not None and task.name in _LABELLED


def one_by_one(expected: Samples, task: Task) -> bool:
    """Whether each sample is right or wrong whatever the others are: not where the nearest of all is looked for."""
    return not (has_measure(expected, task) and task.name == "embedding")


def input_size(graph: Graph, feeding: Feeding) -> Size:
    """Height and width of the model's first image, 1 x 1 if it takes none."""
    for place, tensor in enumerate(graph.input_specs()):
        if len(tensor.shape) == 4:
            height, width, _channels = image_shape(feeding.at(place), tensor)
            return height, width
    return 1, 1


def top1(outputs: Array, labels: Array) -> Array:
    """Which samples have their largest output (N, classes) at their label (N,)."""
    marks: Array = outputs.argmax(axis=1) == labels
    return marks


def neighbour(outputs: Array, labels: Array) -> Array:
    """Which embeddings (N, D) have the label (N,) of the one that is nearest to them by angle."""
    directions = outputs / np.maximum(np.linalg.norm(outputs, axis=1, keepdims=True), 1e-12)
    nearness = directions @ directions.T
    np.fill_diagonal(nearness, -np.inf)
    marks: Array = labels[nearness.argmax(axis=1)] == labels
    return marks


def same_class(outputs: Outputs, truth: Outputs, _task: Task, _size: Size) -> Array:
    """Which samples have their largest output at the same place."""
    first = truth[0].reshape(len(truth[0]), -1)
    return top1(outputs[0].reshape(len(first), -1), first.argmax(axis=1))


def alike(outputs: Outputs, truth: Outputs, _task: Task, _size: Size) -> Array:
    """Which samples have a first output of nearly the same direction."""
    got, wanted = (part[0].reshape(len(part[0]), -1).astype(np.float64) for part in (outputs, truth))
    norms = np.linalg.norm(got, axis=1) * np.linalg.norm(wanted, axis=1)
    cosine = np.divide((got * wanted).sum(axis=1), norms, out=np.zeros(len(got)), where=norms > 0)
    marks: Array = (cosine >= MIN_COSINE) | ((norms == 0) & (got == wanted).all(axis=1))
    return marks


def same_boxes(outputs: Outputs, truth: Outputs, task: Task, size: Size) -> Array:
    """Which samples have the same boxes: each one of its class at its place on the other side, and no more."""
    count = len(truth[0])
    return np.array([_match(_boxes(outputs, i, task, size), _boxes(truth, i, task, size)) for i in range(count)])


_LABELLED: dict[str, tuple[str, Callable[[Array, Array], Array]]] = {
    "classification": ("top1", top1),
    "embedding": ("neighbour", neighbour),
}
_AGREEMENT: dict[str, tuple[str, Callable[[Outputs, Outputs, Task, Size], Array]]] = {
    "classification": ("agreement", same_class),
    "detection": ("same boxes", same_boxes),
    "embedding": ("agreement", alike),
    "raw": ("agreement", alike),
}

AGREEMENTS = {name for name, _agree in _AGREEMENT.values()}
"""Metrics that compare with the float model: where there is none, a model agrees with itself."""


def boxes_seen(outputs: Outputs, task: Task, size: Size) -> bool:
    """Whether a detector sees a box in any sample; raises `RecipeError` (postprocess) when it is no such detector."""
    try:
        return task.name != "detection" or any(_boxes(outputs, i, task, size).found for i in range(len(outputs[0])))
    except ProcessingError as error:
        raise _unfit(f"it does not fit the model: {error.message}") from None


def best_boxes(outputs: Outputs, task: Task, size: Size) -> Array:
    """The class of each sample's best box (N,), -1 where it has none."""
    found = [_boxes(outputs, i, task, size).found for i in range(len(outputs[0]))]
    return np.array([boxes[0].index if boxes else -1 for boxes in found])


def require_boxes(outputs: Outputs, task: Task, size: Size) -> None:
    """Boxes that are none, or in no sample, agree with anything: refuse them."""
    if not boxes_seen(outputs, task, size):
        raise _unfit(f"the model detects no box above min_score in any of {len(outputs[0])} samples")


def _unfit(issue: str) -> RecipeError:
    hint = "check its keys against the model's outputs, and that the samples show what the model detects"
    return RecipeError("[postprocess]", [issue], hint=hint, code="postprocess")


def _boxes(outputs: Outputs, at: int, task: Task, size: Size) -> Detections:
    parts = [output[at : at + 1] for output in outputs]
    specs = [TensorSpec("", "float32", part.shape) for part in parts]
    found = postprocess(parts, specs, task.name, task.postprocess, size)
    assert isinstance(found, Detections)
    return found


def _match(got: Detections, wanted: Detections) -> bool:
    left = list(got.found)
    for want in wanted.found:
        overlaps = [iou(np.array(want.box), np.array([other.box]))[0] * (other.index == want.index) for other in left]
        if not overlaps or max(overlaps) < SAME_BOX:
            return False
        left.pop(int(np.argmax(overlaps)))
    return not left
