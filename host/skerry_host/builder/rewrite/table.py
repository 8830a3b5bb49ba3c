"""The rewritings that make a float TFLite model fit for the quantizer, in their order. None changes what it computes.

Each changes a `schema.ModelT` in place and says what it did, or None. They run once, after every road to TFLite.
"""

from collections.abc import Callable
from typing import Any

from skerry_host.builder.rewrite.bias_shape import flatten_biases
from skerry_host.builder.rewrite.clamps import fuse_clamps
from skerry_host.builder.rewrite.float16 import fold_float16
from skerry_host.builder.rewrite.grouped import grouped_to_depthwise
from skerry_host.builder.rewrite.interface import fixed_batch, signature
from skerry_host.builder.rewrite.loops import unroll_loops
from skerry_host.builder.rewrite.names import builtin_codes
from skerry_host.builder.rewrite.reversal import write_reversals
from skerry_host.builder.rewrite.sequence_lstm import unroll_sequence_lstm

Rewrite = Callable[[Any], str | None]

REWRITES: tuple[Rewrite, ...] = (
    builtin_codes,
    unroll_loops,
    unroll_sequence_lstm,
    write_reversals,
    fold_float16,
    flatten_biases,
    grouped_to_depthwise,
    fuse_clamps,
    fixed_batch,
    signature,
)


def rewrite(model: Any) -> list[str]:
    """Apply every rewriting; what was done, in order."""
    return [done for one in REWRITES if (done := one(model))]
