"""Calibration: the range of every activation of a float model on samples. Quantizes nothing.

A calibrator clips what 8 bits hold, to have smaller steps: 16 bits have steps enough, and are never clipped.

The minima and maxima come from the runtime's own profiler, six times faster than fetching every tensor; histograms need
the tensors.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec
import numpy as np
from litert_quantizer import calibrator, recipe_manager
from litert_quantizer.utils import qsv_utils

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.graph import Graph
from skerry_host.builder.modelfile.islands import named
from skerry_host.builder.modelfile.saturating import saturating
from skerry_host.builder.quantize.histogram import Histogram, clip_by_error, clip_by_share
from skerry_host.builder.quantize.inputs import THREADS, Inputs, Runs
from skerry_host.builder.quantize.quantizer import wide_ops
from skerry_host.builder.quantize.step import Draft, Ranges, Step
from skerry_host.builder.recipe.progress import Progress, watched
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.recipe.through_sigmoid import SATURATED, SATURATED_WIDE
from skerry_host.builder.sources.load import SourceModel

CHUNK = 8
"""Samples prepared at a time: the quantizer's calibrator makes a list of what it is given."""
STEEP = {"DIV", "RSQRT", "SQRT"}
"""Operators that magnify small inputs: what they read and write is never clipped, for the rare values count."""
HISTOGRAM_SAMPLES = 64
"""A histogram of values, not of samples: each sample has thousands, and fetching them all takes time."""


def measure(source: SourceModel, inputs: Inputs, plan: Quantize, progress: Progress) -> Ranges:
    """The range of every activation by the plan's calibrator, or as it was trained.

    What only a sigmoid reads has no more than that tells apart, whatever the calibrator and the bits. An input's
    is what it must hold: no calibrator clips what a device hands in.
    """
    trained = {name: _range(low, high) for name, (low, high) in source.trained.items()}
    tensors = [source.graph.tensors[index] for index in source.graph.inputs]
    runs = Runs(source, inputs, progress)
    limits = zip(tensors, _input_ranges(runs), strict=True)
    given = {tensor.name: _range(*found) for tensor, found in limits if tensor.dtype == "float32"}
    found = _measured(runs, plan)
    _end_where_saturated(found, source, plan)
    return found | given | trained


def _end_where_saturated(found: Ranges, source: SourceModel, plan: Quantize) -> None:
    """Clip what only a sigmoid reads; of scores that are ranked by it the upper end counts."""
    floats = {op.index for ops in named(source.graph, plan.keep_float).values() for op in ops}
    inside = saturating(source.graph, floats=floats)
    wide = {i for op in wide_ops(source.graph, plan) for i in op.outputs}
    names = {source.graph.tensors[i].name for i in wide}
    for name in found.keys() & saturating(source.graph, source.through_sigmoid, floats):
        limit = SATURATED_WIDE if plan.activations == "int16" or name in names else SATURATED
        highest = np.inf if source.ranked and name not in inside else limit
        for end in found[name].values():
            np.clip(end, -limit, highest, out=end)


def _wide(graph: Graph, plan: Quantize) -> set[str]:
    """The activations of 16 bit that nothing of 8 bit reads."""
    wide = {op.index for op in wide_ops(graph, plan)}
    written = {i for op in graph.ops if op.index in wide for i in op.outputs}
    narrow = {i for op in graph.ops if op.index not in wide for i in op.inputs}
    return {graph.tensors[i].name for i in written - narrow}


def _measured(runs: Runs, plan: Quantize) -> Ranges:
    if plan.activations == "int16":
        return _copied(_extremes(runs, "min-max"))
    wide = _wide(runs.source.graph, plan) if plan.int16_layers else set()
    whole = {name: found for name, found in _extremes(runs, "min-max").items() if name in wide} if wide else {}
    return _by_calibrator(runs, plan) | _copied(whole)


def _by_calibrator(runs: Runs, plan: Quantize) -> Ranges:
    if plan.calibrator in UPDATES:
        return _copied(_extremes(runs, plan.calibrator))
    clip = clip_by_error if plan.calibrator == "mse" else lambda h: clip_by_share(h, plan.percentile / 100)
    clipped = {name: _range(*clip(histogram)) for name, histogram in _distributions(runs).items()}
    return _copied(_extremes(runs, "min-max")) | clipped


@lru_cache(maxsize=4)
def _input_ranges(runs: Runs) -> list[tuple[float, float]]:
    return runs.inputs.input_ranges()


@lru_cache(maxsize=4)
def _extremes(runs: Runs, kind: str) -> Ranges:
    return _profiled(runs.source, runs.inputs, UPDATES[kind], runs.progress)


@lru_cache(maxsize=2)
def _distributions(runs: Runs) -> dict[str, Histogram]:
    outer = _extremes(runs, "min-max")
    return _histograms(runs.first(HISTOGRAM_SAMPLES), outer)


def _copied(ranges: Ranges) -> Ranges:
    """Steps that come later may change theirs."""
    return {name: {end: value.copy() for end, value in one.items()} for name, one in ranges.items()}


def _range(low: float, high: float) -> dict[str, Array]:
    return {"min": np.array([low]), "max": np.array([high])}


UPDATES: dict[str, Callable[[Any, Any], Any]] = {
    "min-max": qsv_utils.min_max_update,
    "moving-average": qsv_utils.moving_average_update,
}
"""How the range of one more sample is merged into the range so far, for calibrators that need nothing else."""


def _profiled(source: SourceModel, inputs: Inputs, update: Callable[[Any, Any], Any], progress: Progress) -> Ranges:
    mode = calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED
    content = memoryview(bytearray(source.data))
    made = calibrator.Calibrator(content, num_threads=THREADS, mode=mode, qsv_update_func=update)
    names = [tensor.name for tensor in inputs.tensors]
    no_recipe = recipe_manager.RecipeManager()  # asked for, and not used by this mode
    chunks = _chunks(dict(zip(names, tensors, strict=True)) for tensors in inputs)
    for chunk in watched(chunks, f"calibrating with {len(inputs)} samples", progress, of=-(-len(inputs) // CHUNK)):
        made.calibrate({inputs.signature: chunk}, no_recipe)
    ranges: Ranges = made.get_model_qsvs()
    return ranges


def _chunks(items: Iterator[dict[str, Array]]) -> Iterator[list[dict[str, Array]]]:
    while chunk := list(islice(items, CHUNK)):
        yield chunk


def _histograms(runs: Runs, ranges: Ranges) -> dict[str, Histogram]:
    """The distribution of every activation that has a range of more than one value."""
    graph = runs.source.graph
    steep = {i for op in graph.ops if op.name in STEEP for i in (*op.inputs, *op.outputs)}
    written = {i for op in graph.ops for i in op.outputs if i not in steep} | set(graph.inputs)
    floats = [graph.tensors[i] for i in sorted(written) if graph.tensors[i].dtype == "float32"]
    limits = {t.name: (float(r["min"].min()), float(r["max"].max())) for t in floats if (r := ranges.get(t.name))}
    found = {name: Histogram(low, high) for name, (low, high) in limits.items() if high > low}
    for value_of in runs.activations("measuring distributions"):
        for t in floats:
            if t.name in found:
                found[t.name].add(value_of(t.index))
    return found


def _run(draft: Draft) -> Draft:
    return replace(draft, ranges=measure(draft.source, draft.inputs, draft.plan, draft.progress))


def calibrators(plan: Quantize) -> Iterator[tuple[str, Quantize]]:
    """Other ways to choose the activations' ranges."""
    ways: list[dict[str, object]] = [
        {"calibrator": "min-max"},
        {"calibrator": "moving-average"},
        {"calibrator": "mse"},
        *({"calibrator": "percentile", "percentile": share} for share in (99.99, 99.9)),
    ]
    for way in ways:
        candidate = msgspec.structs.replace(plan, **way)
        if candidate != plan and plan.activations == "int8":
            yield f"calibrator {' '.join(str(value) for value in way.values())}", candidate


STEP = Step(
    "calibrate",
    lambda plan: plan.activations != "float",
    _run,
    keys=("calibrator", "percentile"),
    choices=calibrators,
    search_order=1,
    remedies={"clipped": "calibrator = 'min-max'", "outliers": "calibrator = 'mse' or 'percentile'"},
)
