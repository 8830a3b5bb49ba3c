"""From what a recipe names to the two sets of a build: finds the format, splits, takes as many as are wanted, checks.

.npz files go to `samples`, which has them in memory; all others to a reader. Judges no quality: that is `lint`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from skerry_agent.processing import Array, ProcessingError, preprocess
from skerry_agent.wire.manifest import TensorSpec
from skerry_host.builder.data import samples as arrays
from skerry_host.builder.data.choose import Check, Selection, Usable, balanced, file_sha256, sha256_of, split, usable
from skerry_host.builder.data.meaning import name_issues
from skerry_host.builder.data.readers.base import Found, Picked, UnusableDataError, Wanted, listed
from skerry_host.builder.data.readers.formats import READERS, format_of, parts_of
from skerry_host.builder.data.samples import DataSet, Samples
from skerry_host.builder.data.truth import TruthError, require_mask
from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.progress import Progress, silent
from skerry_host.builder.recipe.recipe import LoadedRecipe, Recipe
from skerry_host.text import clean

CALIBRATION_SAMPLES, EVALUATION_SAMPLES = 500, 5000
"""How many are taken where the recipe does not say it, of formats whose samples are read one by one."""
INSPECTED = 100
"""Samples whose shapes and values are looked at."""
SHAPES = 50
"""Different shapes of samples that are tried on the model's input."""
MOST_CLASSES = 1 << 31


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the two sets as it was found: which samples of what, and how many are wanted."""

    what: str
    found: Found
    places: Sequence[int]
    count: int


def load_data(
    loaded: LoadedRecipe, tensors: Sequence[TensorSpec], classes: int, progress: Progress = silent
) -> DataSet:
    """The samples of a recipe for a model with the inputs `tensors` and `classes` (0: unknown).

    Raises `RecipeError`.
    """
    plan = loaded.recipe
    try:
        kinds = [_kind(plan, place) for place in (loaded.calibration, loaded.evaluation)]
        if set(kinds) == {"npz"}:
            return _arrays(_two_files(loaded), tensors, classes)
        return _collected(loaded, kinds, tensors, classes, progress)
    except (UnusableDataError, OSError) as error:
        raise RecipeError(f"data of recipe {plan.name}", [str(error)], hint="see docs/data.md", code="data") from None


def with_names(loaded: LoadedRecipe, data: DataSet) -> LoadedRecipe:
    """The recipe with the names of classes that the data have, where it has none itself."""
    plan = loaded.recipe
    if plan.labels.names or not data.names:
        return loaded
    labels = msgspec.structs.replace(plan.labels, names=data.names)
    problems = labels.problems_of(plan.task)
    if problems:
        raise RecipeError(f"data of recipe {plan.name}", problems, hint="rename them", code="data")
    return replace(loaded, recipe=msgspec.structs.replace(plan, labels=labels))


def _arrays(loaded: LoadedRecipe, tensors: Sequence[TensorSpec], classes: int) -> DataSet:
    """Samples of two .npz files, at most as many as the recipe says."""
    data, plan = arrays.load_data(loaded, tensors, classes), loaded.recipe.data
    files = {"calibration": loaded.calibration, "evaluation": loaded.evaluation}
    return replace(
        data,
        sha256={name: file_sha256(path) for name, path in files.items()},
        calibration=_at_most(data.calibration, plan.calibration_samples),
        evaluation=_at_most(data.evaluation, plan.evaluation_samples),
    )


def _two_files(loaded: LoadedRecipe) -> LoadedRecipe:
    """With a file for each set, such as `calibration.npz` and `evaluation.npz` of a folder."""
    if loaded.calibration != loaded.evaluation:
        return loaded
    there = parts_of(loaded.calibration, "npz")
    if there is None:
        raise UnusableDataError("a .npz file is not split: name one for calibration and one for evaluation")
    return replace(loaded, calibration=there[0], evaluation=there[1])


def _at_most(samples: Samples, count: int | None) -> Samples:
    if count is None or count >= len(samples):
        return samples
    return samples.subset(np.linspace(0, len(samples) - 1, count).astype(int).tolist())


def _kind(plan: Recipe, place: Path) -> str:
    return format_of(place) if plan.data.format == "auto" else plan.data.format


def _collected(
    loaded: LoadedRecipe, kinds: Sequence[str], tensors: Sequence[TensorSpec], classes: int, progress: Progress
) -> DataSet:
    if "npz" in kinds:
        raise UnusableDataError("one set is a .npz file, the other is not: give both in one form")
    plan, notes = loaded.recipe, list[str]()
    places = plan.feeding.brought(tensors)
    if len(places) != 1:
        raise UnusableDataError(f"the model takes {len(places)} inputs, {kinds[0]} gives one: write a .npz with all")
    tensor = tensors[places[0]]
    parts = _parts(loaded, kinds, tensor, notes)
    names = plan.labels.names or parts[0].found.names
    issues = name_issues(plan, names, classes)
    sets, hashes, damaged = [], {}, []
    for part in parts:
        wish = Selection(part.what, part.count, _check(plan.task, classes))
        good = usable(part.found, part.places, wish, progress)
        samples = Samples(Picked(part.found.inputs, good.places), _truth(part.found, good.places))
        issues += _too_few(part.what, len(samples), plan)
        found = _issues(samples, plan, tensor, classes, places[0]) if good.places else []
        issues += [f"{part.what}: {issue}" for issue in found]
        notes += _notes(part, good)
        damaged += [f"left out of the {part.what} samples: {one}" for one in good.damaged]
        hashes[part.what] = sha256_of(part.found, good.places)
        sets.append(samples)
    if issues:
        raise RecipeError(f"data of recipe {plan.name}", issues, hint="see docs/data.md", code="data")
    notes += _absent(sets, plan.task, names)
    said = tuple(dict.fromkeys(map(clean, notes)))
    return DataSet(sets[0], sets[1], names, said, tuple(map(clean, damaged)), hashes, parts[0].found.ordered)


def _parts(loaded: LoadedRecipe, kinds: Sequence[str], tensor: TensorSpec, notes: list[str]) -> list[_Part]:
    """The two sets: of two places, of the parts that one place has, or of one place split in two."""
    plan, places = loaded.recipe, [loaded.calibration, loaded.evaluation]
    wanted = Wanted(plan.task, plan.labels.names, plan.data, (tensor.shape,))
    counts = plan.data.calibration_samples or CALIBRATION_SAMPLES, plan.data.evaluation_samples or EVALUATION_SAMPLES
    if places[0] == places[1]:
        there = parts_of(places[0], kinds[0])
        if there is None:
            found = READERS[kinds[0]](places[0], wanted)
            one, two = split(found, plan.data.split)
            notes.append(f"split of {places[0].name}: {len(one)} samples to calibrate, {len(two)} to evaluate")
            return [
                _Part("calibration", found, balanced(found, one), counts[0]),
                _Part("evaluation", found, balanced(found, two), counts[1]),
            ]
        places = list(there)
        notes.append(f"calibrated with {places[0].name}, evaluated with {places[1].name}")
    found_one = READERS[kinds[0]](places[0], wanted)
    if not wanted.names and found_one.names:  # one order of classes for both
        wanted = replace(wanted, names=found_one.names)
    found_two = READERS[kinds[1]](places[1], wanted)
    return [
        _Part("calibration", found_one, balanced(found_one, range(len(found_one))), counts[0]),
        _Part("evaluation", found_two, balanced(found_two, range(len(found_two))), counts[1]),
    ]


def _absent(sets: Sequence[Samples], task: str, names: Sequence[str]) -> list[str]:
    """Which classes no sample is of."""
    if task != "classification" or not names or any(one.truth is None for one in sets):
        return []
    there = {int(index) for one in sets for index in one.classes}
    missing = [name for index, name in enumerate(names) if index not in there]
    return (
        [f"data: no sample is of {listed(missing)}: nothing is known of how well they are told apart"]
        if missing
        else []
    )


def _notes(part: _Part, good: Usable) -> list[str]:
    made = [*part.found.notes, *part.found.inputs.remarks()]
    if len(good.places) < len(part.places) - len(good.damaged):
        made.append(f"{len(good.places)} of {len(part.places)} {part.what} samples are used, of every class as many")
    return [f"data: {note}" for note in made]


def _truth(found: Found, places: Sequence[int]) -> Sequence[Any] | None:
    if found.truth is None:
        return None
    picked: Any = Picked(found.truth, places)
    return [int(one) for one in picked] if isinstance(found.truth, list) and _are_numbers(found.truth) else picked


def _are_numbers(truth: Sequence[Any]) -> bool:
    return bool(truth) and isinstance(truth[0], int)


def _too_few(what: str, count: int, plan: Recipe) -> list[str]:
    """Fewer samples than a build can do with, or than the recipe wants."""
    least = plan.golden.samples if what == "evaluation" else plan.data.min_calibration_samples or 2
    return [f"{what}: {count} samples, at least {least} are needed"] if count < least else []


def _issues(samples: Samples, plan: Recipe, tensor: TensorSpec, classes: int, place: int) -> list[str]:
    """What makes a set unfit for the model: the shapes and values of its samples, what is said to be right."""
    shapes: Counter[tuple[Any, ...]] = Counter()
    low, high = np.inf, -np.inf
    for sample in samples.every(max(1, len(samples) // INSPECTED)):
        (values,) = sample
        shapes[values.shape, values.dtype.str] += 1
        if not np.isfinite(values).all():
            return ["a sample holds NaN or infinity"]
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    if low == high:
        return [f"every input value is {low:g}: these are not real samples"]
    return [*_shape_issues(shapes, plan, tensor, place), *_truth_issues(samples, plan, classes)]


def _shape_issues(shapes: "Counter[tuple[Any, ...]]", plan: Recipe, tensor: TensorSpec, place: int) -> list[str]:
    for (shape, dtype), count in shapes.most_common(SHAPES):
        try:
            preprocess(np.zeros(shape, dtype), plan.feeding.at(place), tensor)
        except ProcessingError as error:
            several = f" ({count} of them; there are {len(shapes)} shapes)" if len(shapes) > 1 else ""
            advice = _advice(shape, plan, tensor)
            return [f"{error.message}{several}{advice}"]
    return []


def _advice(shape: tuple[int, ...], plan: Recipe, tensor: TensorSpec) -> str:
    if len(shape) == 3 and shape[:2] in {tensor.shape[1:3], tensor.shape[2:]}:
        return ': a model of grey images takes colours by [preprocess] color = "gray"'
    if len(shape) == 3 and len(tensor.shape) == 4 and plan.preprocess.resize == "none":
        return ': images of another size are fitted by [preprocess] resize = "stretch", "letterbox" or "crop"'
    return ""


def _truth_issues(samples: Samples, plan: Recipe, classes: int) -> list[str]:
    if samples.truth is None:
        return []
    if plan.task != "classification":
        return []
    most, known = max(samples.truth), max(2, classes) if classes else MOST_CLASSES
    return [f"labels run up to {most}, the model has {known} classes: they are counted from 0"] if most >= known else []


def _check(task: str, classes: int) -> Check | None:
    """What must hold of what is right for one sample of a task."""
    if task == "detection" and classes:
        return lambda boxes: _require_classes(boxes[:, 0], classes)
    if task == "segmentation":
        return lambda mask: require_mask(mask, classes)
    return None


def _require_classes(indices: Array, classes: int) -> None:
    if len(indices) and int(indices.max()) >= classes:
        raise TruthError(f"has a box of class {int(indices.max())}, the model has {classes} classes")
