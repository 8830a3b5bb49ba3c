"""Gives the biases of a `schema.ModelT` the one axis that the quantizer takes."""

from typing import Any

import numpy as np

from skerry_host.builder.modelfile.graph import op_name

_BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
"""Which input of an operator is its bias."""


def flatten_biases(model: Any) -> str | None:
    """Give biases one axis: converters leave (1, 1, 1, n) behind, which the quantizer does not take."""
    main = model.subgraphs[0]
    flat = 0
    for op in main.operators or []:
        place = _BIAS.get(op_name(model.operatorCodes[op.opcodeIndex]))
        if place is None or place >= len(op.inputs) or op.inputs[place] < 0:
            continue
        bias = main.tensors[op.inputs[place]]
        if bias.shape is not None and len(bias.shape) > 1:
            bias.shape, bias.shapeSignature = np.array([np.prod(bias.shape)], np.int32), None
            flat += 1
    return f"{flat} biases flattened" if flat else None
