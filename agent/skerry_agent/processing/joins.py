"""Joins the outputs that a model gives in parts, each with a scale of its own, to the outputs of its source. Pure."""

from collections.abc import Sequence

import numpy as np

from skerry_agent.processing.arrays import Array
from skerry_agent.processing.errors import ProcessingError
from skerry_agent.wire.manifest import Join


def join_outputs(real: Sequence[Array], joins: Sequence[Join]) -> list[Array]:
    """Real-valued outputs (N, ...) in the order of the source's: a joined one is where its first part was.

    Raises `ProcessingError` for parts that are not there or do not fit.
    """
    whole = {join.parts[0]: _joined(real, join) for join in joins}
    inner = {part for join in joins for part in join.parts[1:]}
    return [whole.get(place, part) for place, part in enumerate(real) if place not in inner]


def _joined(real: Sequence[Array], join: Join) -> Array:
    try:
        return np.concatenate([real[part] for part in join.parts], axis=join.axis)
    except (IndexError, ValueError) as error:
        raise ProcessingError(f"output {join.name} cannot be joined from its parts: {error}") from None
