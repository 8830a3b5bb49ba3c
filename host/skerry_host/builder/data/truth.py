"""What is right for each sample, from the arrays of a data file: one form for each task. Reads no file.

People write labels as integers, as floats that are whole, one-hot, or as names; all of them become the task's form, and
labels of another task are named as such. The forms are those of docs/tasks.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skerry_agent.processing import Array

KEYS = {
    "labels": "the classes of samples (classification, embedding)",
    "boxes": "the boxes of objects (detection)",
    "masks": "the classes of pixels (segmentation)",
    "keypoints": "the places of points (keypoints)",
    "targets": "numbers (regression)",
    "texts": "texts (sequence)",
}
"""The arrays that say what is right, and what they say."""
MAX_CLASS = 2**31 - 1
_MASK_TYPES = {np.dtype(np.uint8), np.dtype(np.uint16)}


class TruthError(ValueError):
    """Why what is said to be right cannot be used for a task, in one line."""


@dataclass(frozen=True, slots=True)
class TruthForm:
    """What truth must fit: how many samples there are, how many classes (0: unknown) and what they are called.

    `shape` is that of the first output without the batch.
    """

    samples: int
    classes: int = 0
    names: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()


def parse_truth(task: str, arrays: Mapping[str, Array], form: TruthForm) -> Sequence[Any] | Array | None:
    """What is right for each sample, in the task's form; None where the arrays say nothing.

    classification, embedding: integers (N,). multilabel, events: uint8 (N, ...). detection: N arrays (M, 5) of class,
    top, left, bottom, right. segmentation: masks (N, H, W). keypoints: (N, K, 3) of y, x, visible. regression:
    (N, ...). sequence: N texts. Raises `TruthError`.
    """
    there = [key for key in KEYS if key in arrays]
    if task not in _PARSERS:
        return None
    key, parse = _PARSERS[task]
    if key in there:
        return parse(arrays[key], form)
    if task == "regression" and "labels" in there:
        return _targets(arrays["labels"], form)
    if there:
        what = f"{there[0]}: {KEYS[there[0]]}, the recipe's task is {task}, whose truth is in {key!r}"
        raise TruthError(f"{what}: write that, set task, or leave {there[0]} out")
    return None


def class_indices(labels: Array, form: TruthForm) -> Array:
    """The class of each sample (N,), from integers, whole floats, one-hot rows or names."""
    if labels.dtype.kind in "US":
        return _named(labels, form)
    values = _numbers(labels, "labels")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and _is_one_hot(values):
        values = values.argmax(axis=1)
    elif values.ndim == 2 and ((values == 0) | (values == 1)).all():
        raise TruthError(f"labels {_shape(labels)} have rows with several classes or none: that is task multilabel")
    if values.shape != (form.samples,) or not _are_whole(values):
        raise TruthError(f"labels are {labels.dtype} of shape {labels.shape}, not {form.samples} integers")
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if form.classes and not 0 <= low <= high < form.classes:
        raise TruthError(f"labels run from {int(values.min())} to {high}, the model has {form.classes} classes")
    if low < 0 or high > MAX_CLASS:
        raise TruthError(f"labels run from {low} to {high}, classes are counted from 0")
    return values.astype(np.int64)


def _several(labels: Array, form: TruthForm) -> Array:
    """Which classes each sample has (N, classes), or each frame of it (N, frames, classes)."""
    values = _numbers(labels, "labels")
    if values.ndim < 2 or len(values) != form.samples:
        hint = ": integers of one class a sample are task classification" if values.ndim == 1 else ""
        raise TruthError(f"labels are of shape {labels.shape}, not ({form.samples}, classes) of 0 and 1{hint}")
    if not ((values == 0) | (values == 1)).all():
        raise TruthError(f"labels {_shape(labels)} hold other values than 0 and 1")
    if form.classes and values.shape[-1] != form.classes:
        raise TruthError(f"labels have {values.shape[-1]} classes, the model has {form.classes}")
    return values.astype(np.uint8)


def _boxes(boxes: Array, form: TruthForm) -> list[Array]:
    """Rows of sample, class, top, left, bottom, right as an array for each sample."""
    rows = _numbers(boxes, "boxes").astype(np.float32)
    if rows.ndim != 2 or rows.shape[1] != 6:
        raise TruthError(f"boxes are of shape {boxes.shape}, not (total, 6): sample, class, top, left, bottom, right")
    of = rows[:, 0]
    if len(rows) and not (_are_whole(of) and 0 <= of.min() <= of.max() < form.samples):
        raise TruthError(f"boxes are of samples {of.min():g} to {of.max():g}, there are {form.samples}")
    _require_boxes(rows[:, 1:], form.classes)
    order = np.argsort(of, kind="stable")
    ends = np.searchsorted(of[order], np.arange(1, form.samples))
    return [np.ascontiguousarray(part) for part in np.split(rows[order, 1:], ends)]


def _require_boxes(rows: Array, classes: int) -> None:
    """Refuse rows (M, 5) of class, top, left, bottom, right that are no boxes."""
    if not len(rows):
        return
    if not _are_whole(rows[:, 0]) or rows[:, 0].min() < 0 or (classes and rows[:, 0].max() >= classes):
        low, high = rows[:, 0].min(), rows[:, 0].max()
        raise TruthError(f"boxes have classes {low:g} to {high:g}, the model has {classes or 'whole ones from 0'}")
    sides = rows[:, 1:]
    outside = np.flatnonzero((sides < -1e-4).any(axis=1) | (sides > 1 + 1e-4).any(axis=1))
    if len(outside):
        box = ", ".join(f"{n:g}" for n in sides[outside[0]])
        raise TruthError(f"{len(outside)} of {len(rows)} boxes are outside 0..1 of the sample, such as {box}")
    flat = np.flatnonzero((sides[:, 2] <= sides[:, 0]) | (sides[:, 3] <= sides[:, 1]))
    if len(flat):
        box = ", ".join(f"{n:g}" for n in sides[flat[0]])
        raise TruthError(f"{len(flat)} of {len(rows)} boxes have no area (top, left, bottom, right), such as {box}")


def _masks(masks: Array, form: TruthForm) -> Array:
    """The class of each pixel (N, H, W); the largest value of the type is ignored."""
    squeezed = masks[..., 0] if masks.ndim == 4 and masks.shape[-1] == 1 else masks
    if squeezed.ndim != 3 or len(squeezed) != form.samples or squeezed.dtype.kind not in "uib":
        raise TruthError(
            f"masks are {masks.dtype} of shape {masks.shape}, not ({form.samples}, height, width) integers"
        )
    if squeezed.dtype not in _MASK_TYPES:
        low, high = int(squeezed.min(initial=0)), int(squeezed.max(initial=0))
        if low < 0 or high > 65535:
            raise TruthError(f"masks have classes {low} to {high}, they are counted from 0; 255 is ignored")
        squeezed = squeezed.astype(np.uint8 if high < 256 else np.uint16)
    require_mask(squeezed, form.classes)
    return squeezed


def require_mask(mask: Array, classes: int) -> None:
    """Refuse pixels of classes that the model does not have; raises `TruthError`."""
    ignored = 65535 if mask.dtype.itemsize > 1 else 255
    seen = mask[mask != ignored] if mask.size else mask
    high = max(classes, 2) if classes else ignored
    if seen.size and not 0 <= int(seen.min()) <= int(seen.max()) < high:
        raise TruthError(f"masks have classes {seen.min()} to {seen.max()}, the model has {high}; {ignored} is ignored")


def _keypoints(points: Array, form: TruthForm) -> Array:
    """y, x in 0..1 of the sample and whether it is visible, of each point (N, K, 3)."""
    values = _numbers(points, "keypoints").astype(np.float32)
    if values.ndim != 3 or len(values) != form.samples or values.shape[2] not in {2, 3}:
        raise TruthError(f"keypoints are of shape {points.shape}, not ({form.samples}, points, 3): y, x, visible")
    if values.shape[2] == 2:
        values = np.concatenate([values, np.ones((*values.shape[:2], 1), np.float32)], axis=2)
    seen = values[values[..., 2] > 0]
    if seen.size and (np.abs(seen[:, :2] - 0.5) > 1).any():  # a point may lie a little outside, pixels lie far
        raise TruthError(f"keypoints run to {seen[:, :2].max():g}: they are in 0..1 of the sample, not in pixels")
    return values


def _targets(targets: Array, form: TruthForm) -> Array:
    """The numbers of each sample (N, ...)."""
    values = _numbers(targets, "targets").astype(np.float64)
    if values.ndim == 0 or len(values) != form.samples:
        raise TruthError(f"targets are of shape {targets.shape}, not of {form.samples} samples")
    if form.shape and values[0].size != int(np.prod(form.shape)):
        raise TruthError(f"targets have {values[0].size} numbers a sample, the output has {form.shape}")
    return values.reshape(len(values), *form.shape) if form.shape else values


def _texts(texts: Array, form: TruthForm) -> list[str]:
    """The text of each sample."""
    if texts.shape != (form.samples,) or texts.dtype.kind != "U":
        raise TruthError(f"texts are {texts.dtype} of shape {texts.shape}, not {form.samples} texts")
    if not form.names:
        raise TruthError("texts cannot be compared without the character of each symbol: give it in [labels]")
    letters = {letter for name in form.names for letter in name}
    unknown = sorted({letter for text in texts.tolist() for letter in text} - letters)
    if letters and len(unknown) > len(letters) // 2 + 3:
        raise TruthError(f"texts hold {len(unknown)} letters that labels have not, such as {unknown[0]!r}")
    return [str(text) for text in texts]


def _named(labels: Array, form: TruthForm) -> Array:
    texts = [text.decode(errors="replace") if isinstance(text, bytes) else str(text) for text in labels.reshape(-1)]
    places = {name: at for at, name in enumerate(form.names)}
    unknown = sorted(set(texts) - set(places))
    if unknown or len(texts) != form.samples:
        raise TruthError(f"labels are names such as {unknown[0] if unknown else ''!r}, which labels.names has not")
    return np.array([places[text] for text in texts], np.int64)


def _numbers(values: Array, what: str) -> Array:
    if values.dtype.kind not in "uifb":
        raise TruthError(f"{what} are {values.dtype} of shape {values.shape}, not numbers")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise TruthError(f"{what} hold NaN or infinity")
    return values


def _is_one_hot(values: Array) -> bool:
    return bool(((values == 0) | (values == 1)).all() and (values.sum(axis=1) == 1).all())


def _are_whole(values: Array) -> bool:
    return values.dtype.kind in "uib" or bool((values == np.floor(values)).all())


def _shape(values: Array) -> str:
    return "x".join(map(str, values.shape))


_PARSERS: dict[str, tuple[str, Callable[[Array, TruthForm], Sequence[Any] | Array]]] = {
    "classification": ("labels", class_indices),
    "multilabel": ("labels", _several),
    "detection": ("boxes", _boxes),
    "segmentation": ("masks", _masks),
    "keypoints": ("keypoints", _keypoints),
    "regression": ("targets", _targets),
    "embedding": ("labels", class_indices),
    "sequence": ("texts", _texts),
    "events": ("labels", _several),
}
