"""Which class a classifier's outputs say, without numpy: the one of `processing.classes.classify`, which a test holds.

Counted after every inference, so it is quick for what is usual: the largest value of one output.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from skerry_agent.runner.joined import Outputs
from skerry_agent.runner.tensor import Tensor, argmax
from skerry_agent.wire.manifest import CLASSIFICATION, Bundle, TensorSpec
from skerry_agent.wire.postprocess import Postprocess

Classify = Callable[[Sequence[Tensor]], int]


def classifier_of(bundle: Bundle) -> Classify | None:
    """How the class is found in a bundle's outputs; None for another task, or an output that is not there."""
    spec = bundle.postprocess
    if bundle.task != CLASSIFICATION:
        return None
    if spec.decoder != "classes":
        return lambda outputs: argmax(outputs[0])
    place = _place(bundle, spec.output)
    if place is None:
        return None
    tensor = bundle.outputs[place]
    if math.prod(tensor.shape) == 1:
        least = before_activation(spec)
        return lambda outputs: int(real_value(outputs[place].values()[0], tensor) >= least)
    background = spec.background
    if background is None:
        return lambda outputs: argmax(outputs[place])
    nothing = background % math.prod(tensor.shape)
    return lambda outputs: _best_but(outputs[place], nothing)


def before_activation(spec: Postprocess) -> float:
    """The least score that counts, before a sigmoid where there is one; of a single value softmax means the same."""
    if spec.activation == "none":
        return spec.min_score
    if spec.min_score in {0.0, 1.0}:
        return math.inf if spec.min_score else -math.inf
    return math.log(spec.min_score / (1 - spec.min_score))


def real_value(value: Any, spec: TensorSpec) -> float:
    """One element as a real value."""
    return float((value - spec.zero_point) * spec.scale if spec.scale else value)


def _best_but(tensor: Tensor, nothing: int) -> int:
    """The place of the largest value but the one that means nothing; those after it move up."""
    best = argmax(tensor)
    if best == nothing:
        values = tensor.values()
        best = max((at for at in range(len(values)) if at != nothing), key=values.__getitem__)
    return best - (best > nothing)


def _place(bundle: Bundle, wanted: int) -> int | None:
    """The place of one of the source's outputs among the model's; None for one that is given in parts."""
    given = Outputs(bundle)
    place = given.whole[wanted] if wanted < len(given.whole) else None
    return None if place is None or given.join_of(place) is not None else place
