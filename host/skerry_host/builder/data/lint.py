"""The calibration linter: whether samples can give good ranges and a fair evaluation. Runs no model.

Samples that make a build worthless are refused, doubtful ones are a warning. `samples` has already checked that the
arrays fit the model and are finite. A new check is a function and an entry of `CHECKS`.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import sqrt
from typing import Any, Literal

import numpy as np
from msgspec import Struct

from skerry_agent.processing import Array, Sample
from skerry_host.builder.data.samples import DataSet, Samples
from skerry_host.builder.recipe.errors import RecipeError

ENOUGH_SAMPLES = 500
"""Ranges measured on more samples than this hardly widen any more."""
FEW_EVALUATED = 100
"""Fewer say little: the half width of a 95 % interval of a share is at worst 98 points over the root of this."""
STATISTICS_SAMPLES = 200
"""How many samples the statistics use."""
LINTED_BYTES = 1 << 30
"""How much of the samples is looked at: more than any .npz file may have, and a hundredth of some folders."""
NOISE = 0.1
"""Neighbouring values of noise have a lower correlation."""
NATURAL = 0.3
"""Neighbouring values of pictures and recordings have a higher correlation."""


class Finding(Struct, frozen=True):
    """What is wrong with the samples, and what to do: `refusal` stops the build."""

    code: str
    level: Literal["warning", "refusal"]
    text: str


def lint(data: DataSet) -> list[Finding]:
    """Every finding, refusals first."""
    some = replace(data, calibration=affordable(data.calibration), evaluation=affordable(data.evaluation))
    found = [finding for check in CHECKS if (finding := check(data if check is few else some))]
    return sorted(found, key=lambda finding: finding.level != "refusal")


def require(data: DataSet, recipe: str) -> tuple[str, ...]:
    """The warnings; raises `RecipeError` with every refusal."""
    found = lint(data)
    refusals = [finding.text for finding in found if finding.level == "refusal"]
    if refusals:
        hint = "take real samples of every kind that devices will see; see docs/recipe.md"
        raise RecipeError(f"data of recipe {recipe}", refusals, hint=hint, code="calibration")
    return tuple(finding.text for finding in found)


def few(data: DataSet) -> Finding | None:
    """Fewer samples than ranges and the evaluation want: what that costs, not a refusal."""
    calibration, evaluation = len(data.calibration), len(data.evaluation)
    costs = []
    if calibration < ENOUGH_SAMPLES:
        price = (
            f"in about 1 of {calibration + 1} new samples an activation exceeds all that was measured and is clipped"
        )
        costs.append(f"{calibration} calibration samples, {ENOUGH_SAMPLES} are usual: {price}")
    if evaluation < FEW_EVALUATED:
        width = f"a share of right answers is known to +- {98 / sqrt(max(1, evaluation)):.0f} points at worst"
        costs.append(f"{evaluation} evaluation samples: {width}")
    return Finding("few", "warning", "; ".join(costs)) if costs else None


def noise(data: DataSet) -> Finding | None:
    """Random numbers where samples should be: their neighbouring values have nothing to do with each other."""
    if not data.ordered:
        return None
    calibration, evaluation = (neighbours(part) for part in (data.calibration, data.evaluation))
    if calibration is None or evaluation is None or abs(calibration) >= NOISE:
        return None
    text = f"the calibration samples look like noise: neighbouring values correlate by {calibration:.2f}"
    if evaluation > NATURAL:
        return Finding("noise", "refusal", f"{text}, those of the evaluation samples by {evaluation:.2f}")
    return Finding("noise", "warning", f"{text}, and so do the evaluation samples")


def constant(data: DataSet) -> Finding | None:
    """Samples without content."""
    empty = sum(all(array.min() == array.max() for array in sample) for sample in data.calibration)
    share = empty / len(data.calibration)
    text = f"{share:.0%} of the calibration samples are constant"
    if share > 0.5:
        return Finding("constant", "refusal", text)
    return Finding("constant", "warning", text) if share > 0.05 else None


def repeated(data: DataSet) -> Finding | None:
    """The same sample over and over."""
    different = len(digests(data.calibration, _dtypes(data.calibration))) / len(data.calibration)
    text = f"only {different:.0%} of the calibration samples differ from each other"
    return Finding("repeated", "warning", text) if different < 0.8 else None


def far(data: DataSet) -> Finding | None:
    """Calibration values of another range than those of the evaluation."""
    found = [_far(data, place) for place in _measured(data.calibration)]
    serious = [finding for finding in found if finding and finding.level == "refusal"]
    return next(iter([*serious, *(finding for finding in found if finding)]), None)


def _far(data: DataSet, place: int) -> Finding | None:
    (mean_c, spread_c), (mean_e, spread_e) = (moments(part, place) for part in (data.calibration, data.evaluation))
    if not spread_c or not spread_e:
        return None
    ratio = max(spread_c / spread_e, spread_e / spread_c)
    shift = abs(mean_c - mean_e) / spread_e
    text = (
        f"calibration values ({mean_c:.4g} +- {spread_c:.4g}) are far from those of the evaluation "
        f"({mean_e:.4g} +- {spread_e:.4g}): was one of them scaled differently?"
    )
    if ratio > 4 or shift > 2:
        return Finding("far", "refusal", text)
    return Finding("far", "warning", text) if ratio > 1.5 or shift > 0.5 else None


def classes(data: DataSet) -> Finding | None:
    """Classes of the evaluation samples that no calibration sample has."""
    judged, known = (np.unique(part.classes) for part in (data.evaluation, data.calibration))
    missing = np.setdiff1d(judged, known)
    if len(judged) < 2 or not len(missing) or not None not in (data.calibration.truth, data.evaluation.truth):
        return None
    names = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
    text = f"{len(missing)} of {len(judged)} evaluated classes have no calibration sample ({names})"
    hopeless = len(known) == 1 or (2 * len(missing) > len(judged) and len(data.calibration) >= 2 * len(judged))
    return Finding("classes", "refusal" if hopeless else "warning", text)


def overlap(data: DataSet) -> Finding | None:
    """Samples that are in both sets."""
    one, two = _dtypes(data.calibration), _dtypes(data.evaluation)
    shared_form = [a if a == b else np.dtype(np.float32) for a, b in zip(one, two, strict=True)]
    seen = digests(data.calibration, shared_form)
    shared = sum(digest(sample, shared_form) in seen for sample in data.evaluation)
    if not shared:
        return None
    text = f"{shared} of {len(data.evaluation)} evaluation samples are also calibration samples"
    if 2 * shared > len(data.evaluation):
        return Finding("overlap", "refusal", f"{text}: the model would be evaluated on its calibration data")
    return Finding("overlap", "warning", f"{text}: the accuracy is slightly too high")


def kinds(data: DataSet) -> Finding | None:
    """Arrays of different dtypes were prepared by different code."""
    one, two = (_dtypes(part) for part in (data.calibration, data.evaluation))
    names = [", ".join(map(str, dtypes)) for dtypes in (one, two)]
    text = f"calibration samples are {names[0]}, evaluation samples {names[1]}: devices get only one of the two"
    return Finding("kinds", "warning", text) if one != two else None


CHECKS: tuple[Callable[[DataSet], Finding | None], ...] = (
    few,
    noise,
    constant,
    repeated,
    far,
    classes,
    overlap,
    kinds,
)


def digest(sample: Sample, dtypes: Sequence[np.dtype[Any]]) -> bytes:
    """Equal for samples whose values are equal as `dtypes`, one for each input."""
    found = hashlib.blake2b(digest_size=16)
    for array, dtype in zip(sample, dtypes, strict=True):
        found.update(np.ascontiguousarray(array, dtype).data)
    return found.digest()


def digests(samples: Samples, dtypes: Sequence[np.dtype[Any]]) -> set[bytes]:
    """The digests of all samples."""
    return {digest(sample, dtypes) for sample in samples}


def neighbours(samples: Samples) -> float | None:
    """How neighbouring values along the first axes of samples correlate, -1 to 1; None where nothing is next to it.

    Of samples (H, W, C) along H and W, of (T, C) or (T,) along T; the mean over the samples that are not constant.
    """
    found = [
        value
        for place in _measured(samples)
        for sample in _some(samples)
        for value in _correlations(np.squeeze(sample[place]).astype(np.float64))
    ]
    return float(np.mean(found)) if found else None


def _correlations(sample: Array) -> list[float]:
    pairs = []
    for axis in range(min(2, max(1, sample.ndim - (sample.ndim == 3))) if sample.ndim else 0):
        if sample.shape[axis] < 8:  # of so few values a correlation says nothing
            continue
        rows = np.moveaxis(sample, axis, 0)
        one, two = rows[:-1].ravel(), rows[1:].ravel()
        if one.std() and two.std():
            pairs.append(float(np.corrcoef(one, two)[0, 1]))
    return pairs


def moments(samples: Samples, place: int) -> tuple[float, float]:
    """Mean and standard deviation of some samples' values, one at a time: doubles of all are eight times the data.

    Of the input at `place`. By the law of total variance, from each sample's own mean and variance: samples count alike
    whatever their size.
    """
    some = (sample[place] for sample in _some(samples))
    each = np.array([(array.mean(dtype=np.float64), array.var(dtype=np.float64)) for array in some])
    return float(each[:, 0].mean()), float(np.sqrt(each[:, 1].mean() + each[:, 0].var()))


def _measured(samples: Samples) -> list[int]:
    """The inputs that hold measurements: ids, lengths and masks have no neighbourhood and no scale."""
    return [place for place, array in enumerate(samples.inputs[0]) if array.dtype.kind == "f" or array.itemsize <= 2]


def _dtypes(samples: Samples) -> list[np.dtype[Any]]:
    return [array.dtype for array in samples.inputs[0]]


def affordable(samples: Samples) -> Samples:
    """As many samples, from all over the set, as have `LINTED_BYTES`: photographs are decoded for every check anew."""
    size = sum(array.nbytes for array in samples.inputs[0]) or 1
    return samples.every(max(1, -(-len(samples) * size // LINTED_BYTES)))


def _some(samples: Samples) -> Samples:
    """Samples from all over the set."""
    return samples.every(max(1, len(samples) // STATISTICS_SAMPLES))
