"""Float TFLite to quantized TFLite (litert-quantizer): static 8 or 16 bit, or dynamic. Measures no accuracy."""

import contextlib
import io
import warnings
from collections.abc import Iterator

from litert_quantizer import algorithm_manager, qtyping, quantizer, recipe_manager

from skerry_agent.wire.manifest import Preprocess
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.modelfile.tflite import read_model, write_model
from skerry_host.builder.quantize.bias import correct
from skerry_host.builder.quantize.ends import unsigned_ends
from skerry_host.builder.quantize.equalize import equalize
from skerry_host.builder.quantize.hard_swish import spell_out
from skerry_host.builder.quantize.inputs import Inputs
from skerry_host.builder.quantize.op_versions import write_versions
from skerry_host.builder.quantize.ranges import Ranges, measure
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.progress import Progress, silent
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import Source


def quantize(source: Source, samples: Samples, prep: Preprocess, plan: Quantize, progress: Progress = silent) -> bytes:
    """A model quantized as the plan says; raises `ModelError` when the quantizer cannot."""
    if source.quantized:
        return source.data
    if plan.equalize and source.trained:
        raise ModelError(
            "equalization would change the ranges that this model was trained with (QAT)",
            hint="leave equalize out of [quantize]",
            code="trained",
        )
    inputs = Inputs(samples, prep, source.graph.input_specs()[0], source.graph.signature)
    with _refusals():
        source = equalize(source) if plan.equalize else source
        source = spell_out(source) if plan.activations == "int8" else source
        ranges = measure(source, inputs, plan, progress) if plan.activations != "float" else {}
        progress("choosing integers")
        data = _quantized(source, plan, ranges)
    model = read_model(data)
    if plan.bias_correction and plan.activations == "int8":
        correct(model, source, inputs, progress)
    if plan.activations == "int8":
        write_versions(model)
    if plan.io == "uint8":
        unsigned_ends(model)
    return write_model(model)


def _quantized(source: Source, plan: Quantize, ranges: Ranges) -> bytes:
    made = quantizer.Quantizer(bytearray(source.data), _recipe(plan))
    result = made.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn the quantizer's exceptions into `ModelError`; drop the bars, reports and advice for debugging it prints."""
    noise = io.StringIO()
    try:
        with contextlib.redirect_stderr(noise), contextlib.redirect_stdout(noise), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
        line = " ".join(str(error).split())[:300]
        raise ModelError(f"the quantizer cannot take this model: {line}", code="quantizer") from None


BITS = {"int8": 8, "int16": 16}
_Name = qtyping.TFLOperationName
_WEIGHTED = (_Name.CONV_2D, _Name.DEPTHWISE_CONV_2D, _Name.FULLY_CONNECTED)
_ENDS = (_Name.INPUT, _Name.OUTPUT)
_ALGORITHMS = {
    "min-max": algorithm_manager.AlgorithmName.MIN_MAX_UNIFORM_QUANT,
    "octav": algorithm_manager.AlgorithmName.OCTAV,
}


def _recipe(plan: Quantize) -> qtyping.ModelQuantizationRecipe:
    """Per-channel weights where every runtime has them: never in FULLY_CONNECTED, which needs version 12 for that.

    Other ways to choose a range are for weights: constants between operators are few values, and OCTAV takes none.
    """
    tensorwise, channelwise = qtyping.QuantGranularity.TENSORWISE, qtyping.QuantGranularity.CHANNELWISE
    manager = recipe_manager.RecipeManager()
    grains = {_Name.ALL_SUPPORTED: plan.per_channel, **dict.fromkeys(_WEIGHTED, plan.per_channel)}
    for operation, per_channel in (grains | {_Name.FULLY_CONNECTED: False}).items():
        grain = channelwise if per_channel else tensorwise
        algorithm = _ALGORITHMS[plan.weight_ranges if operation in _WEIGHTED else "min-max"]
        if plan.activations == "float":
            manager.add_dynamic_config(".*", operation, 8, grain, algorithm)
        else:
            manager.add_static_config(".*", operation, BITS[plan.activations], 8, grain, algorithm)
    if plan.io == "float":
        for end in _ENDS:
            manager.add_quantization_config(".*", end, algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE)
    return manager.get_quantization_recipe()
