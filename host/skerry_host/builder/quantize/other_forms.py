"""Other forms of a quantized model that a search may try: another quantizer, 16 bit or float in some layers.

16 bit and float cost time, so they come last, and in as few layers as may do.
"""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from skerry_host.builder.quantize import rounding
from skerry_host.builder.quantize.tensorflow import at_hand
from skerry_host.builder.recipe.recipe import Quantize

SOME, ALL = (0.1, 0.3), (1.0,)
"""Of all layers, the weakest ones that are given 16 bit; all of them where errors of many add up, as in landmarks."""
FEW, FLOATS = 3, 0.15
"""Layers that are left float to save the rest: a few, and a share of all. Float is quicker than 16 bit on most CPUs."""


def other_quantizer(plan: Quantize) -> Iterator[tuple[str, Quantize]]:
    """TensorFlow's, where it is at hand and the recipe does not say which one."""
    if plan.quantizer == "auto" and plan.activations == "int8" and not plan.int16_layers and at_hand():
        yield "TensorFlow's quantizer", replace(plan, quantizer="tensorflow")


def wider(
    plan: Quantize, weakest: Sequence[str], quantizer: str, shares: Sequence[float] = (*SOME, *ALL)
) -> Iterator[tuple[str, Quantize]]:
    """Activations of 16 bit in the layers that lose most; only litert-quantizer makes them.

    So they are tried with the recipe's `quantizer`, even if 8 bits were best with TensorFlow's. What is lost then is
    mostly lost by the weights, which seldom shows before: so each is tried with weights rounded together, too.
    """
    if plan.activations != "int8" or quantizer == "tensorflow":
        return
    for share in shares:
        chosen = weakest[: max(1, round(share * len(weakest)))]
        layers = tuple(name for name in chosen if name not in plan.keep_float)
        if set(layers) - set(plan.int16_layers):
            candidate = replace(plan, int16_layers=layers, quantizer=quantizer)
            yield f"16 bit in {_count(layers)}", candidate
            for name, rounded in rounding.choices(candidate):
                yield f"16 bit in {_count(layers)}, {name}", rounded


def islands(plan: Quantize, weakest: Sequence[str], front: Sequence[str]) -> Iterator[tuple[str, Quantize]]:
    """What makes features of a signal left float, and the layers that lose most."""
    if plan.activations != "int8":
        return
    if front and not set(front) <= set(plan.keep_float):
        name = f"float in the {len(front)} layers up to {front[-1].partition(';')[0]}"
        yield name, _float(plan, front)
    many = round(FLOATS * len(weakest))
    for count in (FEW, many) if many > FEW else (FEW,):
        layers = [name for name in weakest if name not in plan.keep_float][:count]
        if layers:
            yield f"float in {_count(layers)}", _float(plan, layers)


def _float(plan: Quantize, layers: Sequence[str]) -> Quantize:
    """These layers left float, too; of the others that have 16 bit each keeps them."""
    wide = tuple(name for name in plan.int16_layers if name not in layers)
    return replace(plan, int16_layers=wide, keep_float=(*plan.keep_float, *layers))


def _count(layers: Sequence[str]) -> str:
    return "the weakest layer" if len(layers) == 1 else f"the {len(layers)} weakest layers"
