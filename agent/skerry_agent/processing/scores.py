"""Scores of what a model gives: activations, classes that mean nothing, and which axis counts what. Pure arithmetic."""

from collections.abc import Sequence

import numpy as np

from skerry_agent.processing.arrays import Array
from skerry_agent.processing.errors import ProcessingError


def sigmoid(values: Array) -> Array:
    """1 / (1 + e**-x), without overflow."""
    result: Array = 1 / (1 + np.exp(-np.clip(values, -80, 80)))
    return result


def softmax(values: Array) -> Array:
    """Along the last axis."""
    raised = np.exp(values - values.max(axis=-1, keepdims=True, initial=-np.inf))
    result: Array = raised / raised.sum(axis=-1, keepdims=True)
    return result


def activated(values: Array, activation: str) -> Array:
    """Scores in float64; classes are the last axis."""
    real = values.astype(np.float64)
    return sigmoid(real) if activation == "sigmoid" else softmax(real) if activation == "softmax" else real


def without_background(scores: Array, background: int | None) -> Array:
    """Scores (..., classes) without the class that means nothing; classes after it move up."""
    if background is None:
        return scores
    count = scores.shape[-1]
    if count < 2 or background >= count:
        raise ProcessingError(f"postprocess.background is class {background}, the output has {count} classes")
    return np.delete(scores, background, axis=-1)


def as_table(output: Array, rows: str, what: str) -> Array:
    """One sample's output as a table (rows, columns); where `rows` is not said, the longer axis counts them."""
    axes = tuple(n for n in output.shape[1:] if n != 1) if output.ndim > 3 else output.shape[1:]
    if len(axes) == 1:
        axes = (1, *axes) if output.ndim == 2 or output.shape[1] == 1 else (*axes, 1)
    if len(axes) != 2:
        raise ProcessingError(f"{what} has shape {output.shape}, not that of a table with a row or a column for each")
    table: Array = output.reshape(axes)
    turned = rows == "last" or (not rows and axes[0] < axes[1])
    return table.T if turned else table


def output_at(outputs: Sequence[Array], place: int) -> Array:
    """An output that the settings name."""
    if place >= len(outputs):
        raise ProcessingError(f"the model has {len(outputs)} outputs, postprocess names output {place}")
    return outputs[place]
