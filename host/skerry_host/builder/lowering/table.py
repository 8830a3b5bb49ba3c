"""Every operator that can be written as TFLite's, by its name in ONNX. A new one is an entry of its file's table."""

from skerry_host.builder.lowering import (
    convolution,
    elementwise,
    pooling,
    products,
    recurrent,
    reductions,
    resizing,
    shaping,
)
from skerry_host.builder.lowering.elementwise import Lower

OPERATORS: dict[str, Lower] = {
    **elementwise.OPERATORS,
    **shaping.OPERATORS,
    **reductions.OPERATORS,
    **convolution.OPERATORS,
    **pooling.OPERATORS,
    **products.OPERATORS,
    **resizing.OPERATORS,
    **recurrent.OPERATORS,
}
