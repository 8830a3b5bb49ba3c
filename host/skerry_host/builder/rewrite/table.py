"""The rewritings that make a float TFLite model fit for the quantizer, in their order. None changes what it computes.

Each changes a `schema.ModelT` in place and says what it did, or None. They run once, after every road to TFLite.
"""

from collections.abc import Callable
from typing import Any

from skerry_host.builder.rewrite.arithmetic import (
    add_pairs,
    floor_quotients,
    multiply_by_reciprocal,
    multiply_powers,
    subtract_negated,
)
from skerry_host.builder.rewrite.averages import average_sums, centre_variances, fuse_softmax
from skerry_host.builder.rewrite.bias_shape import flatten_biases
from skerry_host.builder.rewrite.clamps import fuse_clamps
from skerry_host.builder.rewrite.cumulated import cumsum_as_dense
from skerry_host.builder.rewrite.custom_functions import builtin_functions
from skerry_host.builder.rewrite.custom_transpose_conv import builtin_transpose_conv
from skerry_host.builder.rewrite.dense_weights import densify
from skerry_host.builder.rewrite.dilation import fuse_dilation
from skerry_host.builder.rewrite.float16 import fold_float16
from skerry_host.builder.rewrite.grouped import grouped_to_depthwise
from skerry_host.builder.rewrite.interface import fixed_batch, signature
from skerry_host.builder.rewrite.known_shapes import fold_shapes
from skerry_host.builder.rewrite.loops import unroll_loops
from skerry_host.builder.rewrite.names import builtin_codes
from skerry_host.builder.rewrite.normalisation import centre_first, multiply_by_inverse_root
from skerry_host.builder.rewrite.response_normalisation import response_as_dense
from skerry_host.builder.rewrite.reversal import write_reversals
from skerry_host.builder.rewrite.sequence_lstm import unroll_sequence_lstm

Rewrite = Callable[[Any], str | None]

REWRITES: tuple[Rewrite, ...] = (
    builtin_codes,
    densify,
    unroll_loops,
    unroll_sequence_lstm,
    write_reversals,
    fold_float16,
    fuse_dilation,
    add_pairs,
    average_sums,
    centre_variances,
    fuse_softmax,
    centre_first,
    multiply_by_inverse_root,
    multiply_powers,
    multiply_by_reciprocal,
    floor_quotients,
    cumsum_as_dense,
    response_as_dense,
    subtract_negated,
    flatten_biases,
    grouped_to_depthwise,
    fuse_clamps,
    fold_shapes,  # while it can be told which open axes are the batch
    fixed_batch,
    signature,
)

CUSTOM: tuple[Rewrite, ...] = (builtin_transpose_conv, builtin_functions)
"""Custom operators that builtin ones can do: written before a model is run for the first time, which it cannot be."""


def without_custom(model: Any) -> list[str]:
    """Write the custom operators that are known by builtin ones; what was done."""
    return [done for one in CUSTOM if (done := one(model))]


def rewrite(model: Any) -> list[str]:
    """Apply every rewriting; what was done, in order."""
    return [done for one in REWRITES if (done := one(model))]
