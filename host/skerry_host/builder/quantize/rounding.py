"""Weights rounded together: the error of each is made up for by those that are rounded after it.

Frantar, Ashkboos, Hoefler, Alistarh: GPTQ (ICLR 2023), section 3, which solves what Frantar, Singh, Alistarh: Optimal
Brain Compression (NeurIPS 2022) states: the least squared error of a layer's outputs, which is the sum over x of
((w - q) x)^2 = (w - q) H (w - q)^T with H = sum of x x^T. Written without the inverse of H, as Chee et al.: QuIP
(NeurIPS 2023), theorem 6, show it to be the same: H = F D F^T with F of an upper triangle and ones in its diagonal, and
q_i = round(w_i + sum over j < i of (w_j - q_j) F_ji).

Few samples fit any rounding, so it is first tried with half of them: a layer that then loses more on the other half
than it did keeps its integers. Changes only the integers of weights: no scale, no bias.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import Array
from skerry_host.builder.modelfile.tflite import read_model
from skerry_host.builder.quantize.inputs import Inputs, Runs
from skerry_host.builder.quantize.moments import Fed, by_group, from_groups, moments
from skerry_host.builder.quantize.step import Draft, Step
from skerry_host.builder.quantize.weights import WeightedLayer, by_output, counterparts, replace, values
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.progress import Progress
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import SourceModel

DAMPING = 0.01
"""Of the mean of the diagonal of H, added to it, as in the paper."""
WORTH = 0.9
"""Of the error that a layer had on the other half of the samples: to leave more is chance, or not worth a change."""
BLOCK = 64
"""Weights that get the errors of all before them at once."""
LARGEST = 127
_INTEGERS = {schema.TensorType.INT8, schema.TensorType.INT16}


def round_weights(model: Any, source: SourceModel, inputs: Inputs, progress: Progress) -> int:
    """Round the weights of a quantized `schema.ModelT` together, in place; of how many layers it lost less."""
    before = read_model(source.data)
    found, done = moments(Runs(source, inputs, progress)), 0
    for real, layer in counterparts(before, model):
        fed = found.get(real.position)
        if fed is not None and _same_integers(before, real, model, layer):
            done += _round(model, layer, values(before, real.weight, "float32"), fed)
    return done


def rounded_together(weights: Array, scales: Array, sums: Array) -> Array:
    """Integers (groups, outputs, width) of weights of that shape, by scales (groups, outputs) and H (groups, w, w).

    The inputs that matter most are rounded first: nothing makes up for the last one's error.
    """
    sums = _damped(sums)
    order = np.argsort(-np.einsum("gii->gi", sums), axis=1, kind="stable")
    factor = _factor(np.take_along_axis(np.take_along_axis(sums, order[:, :, None], 1), order[:, None, :], 2))
    real = np.take_along_axis(weights.astype(np.float64), order[:, None, :], 2)
    steps, errors = np.empty_like(real), np.empty_like(real)
    for start in range(0, real.shape[2], BLOCK):
        block = slice(start, start + BLOCK)
        wanted = real[:, :, block] + errors[:, :, :start] @ factor[:, :start, block]
        for at in range(wanted.shape[2]):
            place = start + at
            steps[:, :, place] = np.clip(np.rint(wanted[:, :, at] / scales), -LARGEST, LARGEST)
            errors[:, :, place] = real[:, :, place] - steps[:, :, place] * scales
            wanted[:, :, at + 1 :] += errors[:, :, place, None] * factor[:, None, place, place + 1 : start + BLOCK]
    found: Array = np.take_along_axis(steps, np.argsort(order, axis=1)[:, None, :], 2)
    return found


def _damped(sums: Array) -> Array:
    """H with a larger diagonal, so that it can be factored; an input that is always zero is one by itself."""
    diagonal = np.einsum("gii->gi", sums)
    mean = diagonal.mean(axis=1, keepdims=True)
    more = np.where(diagonal > 0, DAMPING * mean, np.maximum(mean, 1.0))
    found: Array = sums + more[:, :, None] * np.eye(sums.shape[1])
    return found


def _factor(sums: Array) -> Array:
    """The upper F with ones in its diagonal of H = F D F^T, by Cholesky's of H read backwards."""
    upper = np.linalg.cholesky(sums[:, ::-1, ::-1])[:, ::-1, ::-1]
    scaled: Array = upper / np.einsum("gii->gi", upper)[:, None, :]
    return scaled


def _round(model: Any, layer: WeightedLayer, real: Array, fed: Fed) -> bool:
    form = model.subgraphs[0].tensors[layer.weight].quantization
    shaped = by_output(np.asarray(form.scale, np.float64), layer, real.ndim)
    scales = by_group(np.broadcast_to(shaped, real.shape), fed)[:, :, 0]
    before = values(model, layer.weight, "int8")
    key = scales.tobytes() + before.tobytes()
    if key not in fed.rounded:
        fed.rounded[key] = _better(by_group(real, fed), by_group(before, fed), scales, fed)
    steps = fed.rounded[key]
    if steps is not None:
        replace(model, layer.weight, from_groups(steps, fed).astype(np.int8))
    return steps is not None


def _better(weights: Array, before: Array, scales: Array, fed: Fed) -> Array | None:
    """Other integers, if what half of the samples choose loses less on the other half than those before."""
    one, other = fed.sums
    tried = rounded_together(weights, scales, one)
    if _lost(weights, tried, scales, other) >= WORTH * _lost(weights, before, scales, other):
        return None
    return rounded_together(weights, scales, one + other).astype(np.int8)


def _lost(weights: Array, steps: Array, scales: Array, sums: Array) -> float:
    """The squared error of a layer's outputs, by H of the inputs."""
    error = weights - steps * scales[:, :, None]
    return float(np.sum((error @ sums) * error))


def _same_integers(before: Any, real: WeightedLayer, model: Any, layer: WeightedLayer) -> bool:
    """Whether a layer multiplies the float one's weights as int8 without a zero point by 8 or 16-bit inputs."""
    tensors = model.subgraphs[0].tensors
    weight, given = tensors[layer.weight], tensors[layer.input]
    if any(one.quantization is None or one.quantization.scale is None for one in (weight, given)):
        return False
    plain = weight.type == schema.TensorType.INT8 and not np.any(weight.quantization.zeroPoint)
    shape = before.subgraphs[0].tensors[real.weight].shape
    return plain and given.type in _INTEGERS and np.array_equal(weight.shape, shape)


def _applies(plan: Quantize) -> bool:
    return plan.rounding == "together" and plan.activations != "float"


def _run(draft: Draft) -> Draft:
    if draft.source.trained:
        raise ModelError(
            "rounding together would change the integers that this model was trained with (QAT)",
            hint="leave rounding out of [quantize]",
            code="trained",
        )
    round_weights(draft.model, draft.source, draft.inputs, draft.progress)
    return draft


def choices(plan: Quantize) -> Iterator[tuple[str, Quantize]]:
    """Weights whose rounding errors make up for each other."""
    if plan.rounding == "nearest" and plan.activations != "float":
        yield "weights rounded together", msgspec.structs.replace(plan, rounding="together")


STEP = Step("round weights together", _applies, _run, keys=("rounding",), choices=choices, search_order=5)
