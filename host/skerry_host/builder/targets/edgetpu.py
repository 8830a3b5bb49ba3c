"""The `edgetpu` target: the cpu target's int8 model, compiled. Its release always has the cpu bundle as well.

A host has no Edge TPU, so nothing is run here: golden outputs are those of the cpu model, and a device's own probation
decides. Without a compiler the build goes on and says so.
"""

from msgspec.structs import replace

from skerry_agent.wire import blobs
from skerry_agent.wire.manifest import Artifact, Bundle
from skerry_agent.wire.targets import EDGETPU
from skerry_host.boards import Board
from skerry_host.builder.edgetpu.build_step import NotCompiled, compile_for
from skerry_host.builder.edgetpu.preflight import Preflight, preflight_model
from skerry_host.builder.recipe.progress import Progress
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.targets.base import Compiled
from skerry_host.builder.targets.cpu import CpuBuilder

MODEL = "model_edgetpu.tflite"
LOG = "edgetpu_compiler.log"


class EdgeTpuBuilder(CpuBuilder):
    """Computes on the cpu bundle's own integers: what it makes is the cpu target's model, then compiled."""

    target = EDGETPU
    mixed = False
    last_resort = "quantization-aware training (mixed precision is not possible on the Edge TPU: all is 8 bit there)"

    def plan_problem(self, plan: Quantize) -> str:
        """See `TargetBuilder.plan_problem`."""
        return plan.edgetpu_problem

    def predict(self, model: bytes) -> Preflight:
        """See `TargetBuilder.predict`. Raises `ModelError` when the bytes are no TFLite model."""
        return preflight_model(model)

    def compile(self, board: Board, base: Bundle, model: bytes, progress: Progress) -> Compiled:
        """See `TargetBuilder.compile`. Raises `ModelError` when the bytes are no TFLite model."""
        progress("compiling for the Edge TPU")
        done = compile_for(model, runtime=board.edgetpu_runtime())
        if isinstance(done, NotCompiled):
            found = preflight_model(model, board.edgetpu_runtime())
            predicted = f"predicted: {found.mapped} of {len(found.all)} operators would map"
            return Compiled(f"no edgetpu bundle: {done.reason} ({predicted})")
        others = tuple(artifact for artifact in base.artifacts if artifact.role != "model")
        compiled = Artifact(MODEL, "model", blobs.describe(done.data))
        said = done.model.files[0]
        need = said.inspection.min_runtime
        bundle = replace(base, target=self.target.name, artifacts=(compiled, *others), min_edgetpu_runtime=need)
        remark = (
            f"edgetpu: compiled by {done.compiler} for runtime {need}; not run, because this machine has no Edge TPU"
        )
        files = ((MODEL, done.data), (LOG, done.log.encode()))
        return Compiled("; ".join((remark, *said.warnings)), bundle, files, done)
