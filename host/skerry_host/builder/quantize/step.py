"""A step of the quantization, and the draft model that it works on. Knows no step; `pipeline` lists them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from skerry_agent.processing import Array
from skerry_host.builder.quantize.inputs import Inputs
from skerry_host.builder.quantize.tables import Tables
from skerry_host.builder.recipe.progress import Progress
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import SourceModel

Ranges = dict[str, dict[str, Array]]
"""What litert-quantizer calls QSVs: {"min": (1,), "max": (1,)} by the name of an activation."""
Symptom = Literal["clipped", "outliers", "one scale"]
"""What layer statistics may show that a setting of some step remedies."""
Choices = Callable[[Quantize], Iterator[tuple[str, Quantize]]]


@dataclass(frozen=True, slots=True)
class Draft:
    """A model that is being quantized: `source` as the steps before have changed it, `inputs` to calibrate with.

    `ranges` are of its activations, once they were measured. `model` is the quantized `schema.ModelT`, None before.
    `tables` are functions of one number that operators of the quantized model look up.
    """

    source: SourceModel
    plan: Quantize
    inputs: Inputs
    progress: Progress
    ranges: Ranges = field(default_factory=dict)
    model: Any = None
    tables: Tables = field(default_factory=Tables)


def nothing(_plan: Quantize) -> Iterator[tuple[str, Quantize]]:
    """No other choice."""
    return iter(())


@dataclass(frozen=True, slots=True)
class Step:
    """One step: whether a plan wants it, and how it makes the next draft. `keys` of [quantize] decide about it.

    `choices` are other plans that a search may try, each with its name; a search goes through the steps by
    `search_order`, least change first. `remedies`: what to write into a recipe against a symptom.
    """

    name: str
    applies: Callable[[Quantize], bool]
    run: Callable[[Draft], Draft]
    keys: tuple[str, ...] = ()
    choices: Choices = nothing
    search_order: int = 0
    remedies: Mapping[Symptom, str] = field(default_factory=dict)


def always(_plan: Quantize) -> bool:
    """Every plan wants it."""
    return True


def litert_int8(plan: Quantize) -> bool:
    """Plans of 8 bit whose integers litert-quantizer makes; TensorFlow's quantizer needs no help of other steps."""
    return int8(plan) and plan.quantizer != "tensorflow"


def int8(plan: Quantize) -> bool:
    """Plans with activations of 8 bit."""
    return plan.activations == "int8"
