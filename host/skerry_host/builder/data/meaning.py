"""What a recipe says of a model's outputs, completed by the outputs themselves: forms that only the model decides.

A key that the recipe has set is never changed. Decodes nothing; which keys a device needs says `wire.postprocess`.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import msgspec

from skerry_agent.wire.manifest import TensorSpec
from skerry_agent.wire.postprocess import Postprocess
from skerry_host.builder.data.readers.base import listed
from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.recipe import LoadedRecipe, Recipe

OF_CLASSES = {"classification", "multilabel", "events"}
_NAMED = {"classification", "multilabel", "detection"}
"""Tasks whose names of classes are counted."""
_ROOMY = {"decoded": "boxes", "ssd": "cells"}
"""Decoders of before, and those that mean the same, with keys that agents of before do not know."""
_NEW_KEYS = ("format", "units", "counts", "background", "nms")
_DEFAULT = Postprocess()


def settled(loaded: LoadedRecipe, outputs: Sequence[TensorSpec]) -> LoadedRecipe:
    """With all that a device must know of the outputs; raises `RecipeError` for outputs that are not there."""
    recipe = loaded.recipe
    issues = _places(recipe, outputs)
    if issues:
        raise RecipeError("[postprocess]", issues, hint="outputs are counted from 0", code="postprocess")
    issues = _alphabet(recipe, outputs)
    if issues:
        raise RecipeError("[labels]", issues, hint="see docs/tasks.md", code="labels")
    return replace(loaded, recipe=msgspec.structs.replace(recipe, postprocess=_settled(recipe, outputs)))


def class_count(recipe: Recipe, outputs: Sequence[TensorSpec]) -> int:
    """How many classes a model with these outputs tells apart; 0 where it does not show."""
    spec, first = recipe.postprocess, outputs[min(recipe.postprocess.output, len(outputs) - 1)].shape[1:]
    match recipe.task:
        case "classification" | "multilabel":
            count = prod(first) - _spared(spec)
            return 2 if recipe.task == "classification" and count == 1 else count
        case "detection":
            return _detected(spec, outputs)
        case "events":
            return (min(first) if spec.rows == "" and len(first) == 3 else first[-1] if first else 0) - _spared(spec)
        case "segmentation":
            return 0 if spec.indices or len(first) != 3 else max(2, min(first))
    return 0


def name_issues(plan: Recipe, names: Sequence[str], classes: int) -> list[str]:
    """Names that are not as many as the model has classes (0: unknown)."""
    if plan.task not in _NAMED or not names or classes in {0, len(names)}:
        return []
    if plan.labels.names:
        return [f"labels.names: {len(names)} names, the model has {classes} classes"]
    there = f"the data have {len(names)} classes ({listed(names)}), the model has {classes}"
    return [f"{there}: give all of the model's names in the order of its outputs in labels.names, or in labels.file"]


def _spared(spec: Postprocess) -> int:
    return 0 if spec.background is None else 1


def _detected(spec: Postprocess, outputs: Sequence[TensorSpec]) -> int:
    """How many classes a detector has; 0 for one that gives their numbers, or whose rows do not say it."""
    if spec.decoder == "yolo":
        return _yolo_classes(spec, outputs)
    if spec.classes is not None or max(spec.boxes, spec.scores) >= len(outputs):
        return 0
    boxes, scores = outputs[spec.boxes].shape, outputs[spec.scores].shape
    if spec.boxes == spec.scores:
        return boxes[-1] - 4 - _spared(spec)
    count = prod(boxes[:-1])
    return prod(scores) // count - _spared(spec) if count else 0


def _yolo_classes(spec: Postprocess, outputs: Sequence[TensorSpec]) -> int:
    """What the columns after the box are; 0 where they stand in grids, or apart from the boxes."""
    axes = outputs[spec.boxes].shape[1:]
    if spec.class_count or spec.head != "decoded" or len(axes) != 2 or 4 in axes:
        return spec.class_count
    columns = axes[0] if spec.rows == "last" else axes[1] if spec.rows == "first" else min(axes)
    return max(1, columns - 4 - spec.objectness)


def _settled(recipe: Recipe, outputs: Sequence[TensorSpec]) -> Postprocess:
    spec, names = recipe.postprocess, len(recipe.labels.names)
    changed: dict[str, object] = {}
    match recipe.task:
        case "detection" if spec.decoder in _ROOMY and _uses(spec, _NEW_KEYS):
            changed = {"decoder": _ROOMY[spec.decoder]}
        case "detection" if spec.decoder == "decoded" and spec.boxes == spec.scores:
            changed = {"decoder": "boxes"}
        case "detection" if spec.decoder == "yolo":
            changed = _yolo(spec, outputs[spec.boxes].shape, names)
        case "classification" if _needs_keys(spec, outputs):
            changed = {"decoder": "classes"}
        case "segmentation" if _are_indices(outputs[spec.output]):
            changed = {"indices": True}
        case "sequence" if names and not spec.rows:
            changed = {"rows": _times(outputs[spec.output].shape, names + 1)}
    return msgspec.structs.replace(spec, **changed)


def _are_indices(output: TensorSpec) -> bool:
    return not output.scale and output.dtype.startswith(("int", "uint"))


def _needs_keys(spec: Postprocess, outputs: Sequence[TensorSpec]) -> bool:
    """Whether the largest value of the first output is not the answer: an agent of before would say that it is."""
    single = prod(outputs[spec.output].shape[1:]) == 1
    return single or _uses(spec, ("output", "background")) or spec.decoder == "classes"


def _yolo(spec: Postprocess, shape: tuple[int, ...], names: int) -> dict[str, object]:
    """Which axis counts boxes, and how many columns are classes, where labels say it."""
    axes, own = shape[1:], 4 + spec.objectness + names
    if not names or spec.head != "decoded" or len(axes) != 2:
        return {}
    rows = spec.rows
    if not rows and own in axes and axes[0] != axes[1]:
        rows = "last" if axes[0] == own else "first"
    columns = axes[0] if rows == "last" else axes[1] if rows == "first" else min(axes)
    return {"rows": rows, "class_count": spec.class_count or (names if columns > own else 0)}


def _times(shape: tuple[int, ...], symbols: int) -> str:
    """Which axis counts times, where the other one has a place for each symbol."""
    axes = shape[1:]
    return "last" if len(axes) == 2 and axes[0] == symbols != axes[1] else "first"


def _alphabet(recipe: Recipe, outputs: Sequence[TensorSpec]) -> list[str]:
    """An alphabet of another length than the model's: every letter behind the gap would be read wrongly."""
    names, axes = len(recipe.labels.names), outputs[recipe.postprocess.output].shape[1:]
    if recipe.task != "sequence" or not names or names + 1 in axes or not axes:
        return []
    rows = recipe.postprocess.rows
    symbols = axes[0] if rows == "last" else axes[-1]
    others = [place for place, output in enumerate(outputs) if names + 1 in output.shape[1:]]
    fits = f", or output = {others[0]} in [postprocess], which has as many (not tried)" if others else ""
    advice = f"name each but the blank, the space too{fits}"
    return [f"{names} names and the blank, the model has {symbols} symbols: {advice}"]


def _uses(spec: Postprocess, keys: Sequence[str]) -> bool:
    return any(getattr(spec, key) != getattr(_DEFAULT, key) for key in keys)


def _places(recipe: Recipe, outputs: Sequence[TensorSpec]) -> list[str]:
    """Keys that name an output that the model does not have."""
    if recipe.task in {"raw", "embedding"}:
        return []
    keys = {"detection": ("boxes", "counts"), "keypoints": ("output", "offsets", "presence")}
    count, spec = len(outputs), recipe.postprocess
    found = {key: getattr(spec, key) for key in keys.get(recipe.task, ("output",))}
    return [
        f"{key}: output {place} is named, the model has {count}: {', '.join(spec.name for spec in outputs)}"
        for key, place in found.items()
        if place is not None and place >= count
    ]
