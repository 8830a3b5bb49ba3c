"""Writes LOCAL_RESPONSE_NORMALIZATION, which no runtime has on integers, by a product, a dense layer and a power.

x / (bias + alpha * (sum of the squares of the channels around))^beta: the sum is a dense layer with ones in a band, and
on int8 the power is looked up.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_host.builder.modelfile.constants import add_constant_tensor
from skerry_host.builder.modelfile.parts import copy_tensor, multiply, operator
from skerry_host.builder.modelfile.replacing import replace_operators

_B = schema.BuiltinOperator


def response_as_dense(model: Any) -> str | None:
    """Write each one so."""

    def parts(name: str, op: Any) -> list[Any] | None:
        return _parts(model, op) if name == "LOCAL_RESPONSE_NORMALIZATION" and op.builtinOptions is not None else None

    done = replace_operators(model, parts)
    return f"{done} local response normalisations written as dense layers" if done else None


def _parts(model: Any, op: Any) -> list[Any]:
    main, how = model.subgraphs[0], op.builtinOptions
    read, written = int(op.inputs[0]), int(op.outputs[0])
    channels, name = int(main.tensors[read].shape[-1]), main.tensors[written].name
    places = np.arange(channels)
    band = (np.abs(places[:, None] - places[None, :]) <= how.radius).astype(np.float32) * np.float32(how.alpha)
    weights = add_constant_tensor(model, name + b"/band", band)
    bias = add_constant_tensor(model, name + b"/bias", np.full(channels, how.bias, np.float32))
    power = add_constant_tensor(model, name + b"/power", np.array([-how.beta], np.float32))
    squares, sums, factors = (copy_tensor(main, written, end) for end in (b"/squares", b"/sums", b"/factors"))
    options = schema.FullyConnectedOptionsT()
    options.keepNumDims = True
    return [
        multiply(model, (read, read), squares),
        operator(model, _B.FULLY_CONNECTED, (squares, weights, bias), sums, options),
        operator(model, _B.POW, (sums, power), factors, schema.PowOptionsT()),
        multiply(model, (read, factors), written),
    ]
