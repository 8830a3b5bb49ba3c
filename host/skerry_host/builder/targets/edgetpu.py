"""The Edge TPU's part of a build: the cpu target's int8 model, compiled. The cpu bundle always stands beside it.

No Edge TPU is at hand on a host, so nothing is run here: golden outputs are those of the cpu model, and a device's own
probation judges the rest. Without a compiler the build goes on and says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from skerry_agent.wire import blobs
from skerry_agent.wire.manifest import Artifact, Bundle
from skerry_host.boards import Board
from skerry_host.builder.edgetpu.build_step import CompiledBytes, NotCompiled, compile_for
from skerry_host.builder.edgetpu.preflight import preflight_model
from skerry_host.builder.recipe.progress import Progress

MODEL = "model_edgetpu.tflite"
LOG = "edgetpu_compiler.log"


@dataclass(frozen=True, slots=True)
class EdgeTpu:
    """What became of it: the bundle and its files, or none; what a person should know, and what was compiled."""

    remark: str
    bundle: Bundle | None = None
    files: tuple[tuple[str, bytes], ...] = ()
    compiled: CompiledBytes | None = None


def edgetpu_part(board: Board, asked: Sequence[str], cpu: Bundle, model: bytes, progress: Progress) -> EdgeTpu | None:
    """Compile the cpu bundle's model; None where the board has no Edge TPU or other targets were asked for.

    Raises `ModelError` when the bytes are no TFLite model.
    """
    if "edgetpu" not in board.targets or (asked and "edgetpu" not in asked):
        return None
    progress("compiling for the Edge TPU")
    done = compile_for(model, runtime=board.edgetpu_runtime())
    if isinstance(done, NotCompiled):
        found = preflight_model(model, board.edgetpu_runtime())
        predicted = f"predicted: {found.mapped} of {len(found.all)} operators would map"
        return EdgeTpu(f"no edgetpu bundle: {done.reason} ({predicted})")
    others = tuple(artifact for artifact in cpu.artifacts if artifact.role != "model")
    compiled = Artifact(MODEL, "model", blobs.describe(done.data))
    said = done.model.files[0]
    need = said.inspection.min_runtime
    bundle = replace(cpu, target="edgetpu", artifacts=(compiled, *others), min_edgetpu_runtime=need)
    remark = f"edgetpu: compiled by {done.compiler} for runtime {need}; not run, for no Edge TPU is at hand"
    return EdgeTpu("; ".join((remark, *said.warnings)), bundle, ((MODEL, done.data), (LOG, done.log.encode())), done)
