"""Float TFLite to int8: static, ranges measured on calibration samples (litert-quantizer). Measures no accuracy."""

import contextlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from litert_quantizer import calibrator, qtyping, quantizer, recipe_manager

from skerry_agent.processing import Array, preprocess
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_host.build.data import Samples
from skerry_host.build.errors import ModelError
from skerry_host.build.load import Source
from skerry_host.build.op_versions import raise_versions
from skerry_host.build.recipe import Quantize
from skerry_host.build.tflite import read_model, write_model


def quantize(source: Source, samples: Samples, prep: Preprocess, plan: Quantize) -> bytes:
    """An int8 model with int8 inputs and outputs; raises `ModelError` when the quantizer cannot."""
    made = quantizer.Quantizer(bytearray(source.data), _recipe(plan))
    inputs = _Inputs(samples, prep, source.graph.input_specs()[0])
    noise = io.StringIO()  # the quantizer prints bars, reports and advice for debugging; its errors come as exceptions
    try:
        with contextlib.redirect_stderr(noise), contextlib.redirect_stdout(noise), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ranges = made.calibrate({source.graph.signature: inputs}, num_threads=THREADS, mode=MODE)
            result = made.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
        line = " ".join(str(error).split())[:300]
        raise ModelError(f"the quantizer cannot take this model: {line}", code="quantizer") from None
    model = read_model(bytes(result.quantized_model))
    raise_versions(model)
    return write_model(model)


THREADS = 2
MODE = calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED
"""Ranges are taken inside the runtime: six times faster than fetching every tensor, and as good."""


@dataclass(frozen=True, slots=True)
class _Inputs(Sequence[dict[str, Array]]):
    """The preprocessed samples, made as they are asked for: the quantizer needs a length and walks more than once."""

    samples: Samples
    prep: Preprocess
    tensor: TensorSpec

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, at: int) -> dict[str, Array]: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[dict[str, Array]]: ...
    def __getitem__(self, at: int | slice) -> dict[str, Array] | Sequence[dict[str, Array]]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        return {self.tensor.name: preprocess(self.samples.inputs[at], self.prep, self.tensor)}


def _recipe(plan: Quantize) -> qtyping.ModelQuantizationRecipe:
    """Per-channel weights where every runtime has them: never in FULLY_CONNECTED, which needs version 12 for that."""
    tensorwise, channelwise = qtyping.QuantGranularity.TENSORWISE, qtyping.QuantGranularity.CHANNELWISE
    every, dense = qtyping.TFLOperationName.ALL_SUPPORTED, qtyping.TFLOperationName.FULLY_CONNECTED
    manager = recipe_manager.RecipeManager()
    for operation, granularity in ((every, channelwise if plan.per_channel else tensorwise), (dense, tensorwise)):
        manager.add_static_config(
            regex=".*",
            operation_name=operation,
            activation_num_bits=8,
            weight_num_bits=8,
            weight_granularity=granularity,
        )
    return manager.get_quantization_recipe()
