"""The `cpu` target: an int8 TFLite file, which every board runs."""

from skerry_agent.wire.targets import CPU
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.runtime.probe import check_when_made
from skerry_host.builder.sources.load import SourceModel
from skerry_host.builder.targets.base import QuantizationJob, TargetBuilder


class CpuBuilder(TargetBuilder):
    """Quantizes the TFLite that every source but a quantized ONNX is converted to."""

    target = CPU
    mixed = True
    hint = "give the float ONNX model, or build target onnx for a board that has it"
    last_resort = "quantization-aware training"

    def problem(self, source: SourceModel, plan: Quantize) -> str:  # noqa: ARG002
        """See `TargetBuilder.problem`."""
        if source.quantized and not source.is_tflite:
            return "an already quantized ONNX model cannot be converted to TFLite without loss"
        return "" if source.is_tflite else source.no_tflite or "the source was not converted to TFLite"

    def float_model(self, source: SourceModel) -> bytes:
        """See `TargetBuilder.float_model`."""
        return source.data

    def make(self, job: QuantizationJob) -> bytes:
        """See `TargetBuilder.make`."""
        if job.source.quantized:
            return quantize(job.source, job.samples, job.feeding, job.plan, job.progress)
        with check_when_made() as check:
            model = quantize(job.source, job.samples, job.feeding, job.plan, job.progress)
            check(model)
        return model
