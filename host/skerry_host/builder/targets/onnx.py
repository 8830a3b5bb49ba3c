"""The `onnx` target: int8 ONNX (QDQ) for onnxruntime, from ONNX sources only. Needs the extra [onnx]."""

from msgspec.structs import replace

from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_agent.wire.targets import ONNX
from skerry_host.builder.modelfile.graph import Graph
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import SourceModel
from skerry_host.builder.targets.base import QuantizationJob, TargetBuilder


class OnnxBuilder(TargetBuilder):
    """Lets onnxruntime quantize the ONNX with fixed shapes."""

    target = ONNX
    searched = False
    delta_friendly = False
    hint = "give a float ONNX model and activations = 'int8', or build target cpu"
    last_resort = "quantization-aware training, or the cpu target, which has a search"

    def problem(self, source: SourceModel, plan: Quantize) -> str:
        """See `TargetBuilder.problem`."""
        if source.onnx is None:
            return "it needs an ONNX source"
        return "" if plan.activations == "int8" or source.quantized else "it is built with int8 activations only"

    def float_model(self, source: SourceModel) -> bytes:
        """See `TargetBuilder.float_model`."""
        return source.onnx if source.onnx is not None else source.data

    def preprocess(self, prep: Preprocess, tensor: TensorSpec, model: Graph) -> Preprocess:
        """See `TargetBuilder.preprocess`: images are planes in ONNX."""
        from skerry_host.builder.modelfile.onnx import image_planes  # noqa: PLC0415  (an extra)

        return replace(prep, layout="nchw") if tensor.name in image_planes(model) else prep

    def make(self, job: QuantizationJob) -> bytes:
        """See `TargetBuilder.make`."""
        from skerry_host.builder.quantize.onnx import quantize_onnx  # noqa: PLC0415  (an extra)

        return quantize_onnx(job.source, job.samples, job.feeding, job.plan, job.progress)
