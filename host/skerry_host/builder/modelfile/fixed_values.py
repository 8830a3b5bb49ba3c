"""Inputs of a `schema.ModelT` that the recipe fixes become constants, in place."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from skerry_host.builder.modelfile.constants import DTYPES, add_buffer


def fix_values(model: Any, places: Mapping[int, float]) -> None:
    """Make constants of the first subgraph's inputs at these places, of one number each."""
    main = model.subgraphs[0]
    fixed = {int(main.inputs[place]): number for place, number in places.items()}
    for index, number in fixed.items():
        tensor = main.tensors[index]
        shape = [] if tensor.shape is None else [max(1, int(size)) for size in tensor.shape]
        tensor.buffer = add_buffer(model, np.full(shape, number, DTYPES[tensor.type]))
        tensor.shapeSignature = None
    main.inputs = np.array([int(i) for i in main.inputs if int(i) not in fixed], np.int32)
    for signature in model.signatureDefs or []:
        signature.inputs = [entry for entry in signature.inputs if int(entry.tensorIndex) not in fixed]
