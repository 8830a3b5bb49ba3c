"""Every operator that can be written as TFLite's, by its name in ONNX. A new one is an entry of its file's table."""

from skerry_host.builder.lowering import (
    activations,
    convolution,
    elementwise,
    normalisations,
    padding,
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
    **activations.OPERATORS,
    **shaping.OPERATORS,
    **padding.OPERATORS,
    **reductions.OPERATORS,
    **normalisations.OPERATORS,
    **convolution.OPERATORS,
    **pooling.OPERATORS,
    **products.OPERATORS,
    **resizing.OPERATORS,
    **recurrent.OPERATORS,
}
