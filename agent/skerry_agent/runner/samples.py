"""Raw samples as a model's input, and outputs as an answer: by the same numpy code as on the host.

Import this only where it is used: it imports numpy. What needs none of it is in `real_values`.
"""

import threading
from collections.abc import Sequence
from typing import cast

import numpy as np

from skerry_agent.processing import (
    PICTURES,
    Detection,
    Detections,
    Found,
    Mask,
    ProcessingError,
    answer_for,
    document_of,
    preprocess,
    quantize,
)
from skerry_agent.runner.arrays import from_array, to_array
from skerry_agent.runner.tensor import Tensor
from skerry_agent.wire.codec import encode
from skerry_agent.wire.manifest import Bundle, Preprocess, TensorSpec

_ONE_AT_A_TIME = threading.Lock()
"""A picture takes several times its size while it is resized, and a small board has memory for one."""


def prepared_array(sample: Tensor, prep: Preprocess, spec: TensorSpec) -> Tensor:
    """One sample as the model's input. Raises `ProcessingError` when it does not fit."""
    with _ONE_AT_A_TIME, np.errstate(over="ignore", invalid="ignore"):  # what is too large is refused by who asks
        made = preprocess(to_array(sample), prep, spec)
    return from_array(made.reshape(spec.shape))


def prepared_values(sample: Tensor, prep: Preprocess, spec: TensorSpec) -> Tensor:
    """One sample whose values stay where they are, as the model's input."""
    with np.errstate(over="ignore"):
        real = to_array(sample).astype(np.float64) * prep.scale + prep.offset
        return from_array(quantize(real, spec).reshape(spec.shape))


def answer(bundle: Bundle, outputs: Sequence[Tensor], size: tuple[int, int] | None) -> Found:
    """The answer about a sample of `size` (height, width); None: of the model's input.

    Raises `ProcessingError` when the outputs are not what the bundle says.
    """
    fitting = size or (input_size(bundle) if bundle.task in PICTURES else (1, 1))
    try:
        found = answer_for(bundle, list(map(to_array, outputs)), fitting)
    except (ProcessingError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - numpy's, for outputs that are not what the bundle says
        raise ProcessingError(f"no answer in the outputs: {' '.join(str(error).split())}") from None
    if found is None:
        raise ProcessingError(f"task {bundle.task} has no answer but its outputs")
    return found


def answer_text(bundle: Bundle, outputs: Sequence[Tensor], size: tuple[int, int] | None, names: Sequence[str]) -> str:
    """The answer as JSON, as a file of results has it."""
    return encode(document_of(answer(bundle, outputs, size), names)).decode()


def mask(bundle: Bundle, outputs: Sequence[Tensor], size: tuple[int, int] | None) -> Tensor:
    """The class of each pixel of the sample."""
    found = answer(bundle, outputs, size)
    assert isinstance(found, Mask)
    return from_array(found.classes)


def detections(bundle: Bundle, outputs: Sequence[Tensor], size: tuple[int, int] | None) -> tuple[Detection, ...]:
    """What a detector found."""
    return cast("Detections", answer(bundle, outputs, size)).found


def input_size(bundle: Bundle) -> tuple[int, int]:
    """Height and width of the model's input. Raises `ProcessingError` when it takes no image."""
    tensor, prep = bundle.picture
    shape = prep.sample_shape(tensor)
    if len(shape) != 3:
        raise ProcessingError(f"the model takes {shape}, which is not an image")
    return shape[0], shape[1]
