"""The Edge TPU as one step of a build: bytes in, compiled bytes or the reason why not out. Never ends a build.

A board whose first target is the Edge TPU still gets its cpu bundle when there is no compiler, or the model does not
compile: the build goes on and reports the reason.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from skerry_host.builder.edgetpu.compile import CompiledModel, CompileRequest, compile_models
from skerry_host.builder.edgetpu.errors import CompileError


@dataclass(frozen=True, slots=True)
class CompiledBytes:
    """A compiled model, the text of the compiler's log, and which compiler made it."""

    data: bytes
    log: str
    compiler: str
    model: CompiledModel


@dataclass(frozen=True, slots=True)
class NotCompiled:
    """Why there is no compiled model: `code` as in `CompileError`, `reason` one line with what to do."""

    code: str
    reason: str
    log: str = ""


def compile_for(model: bytes, *, runtime: int | None = None, seconds: float = 180.0) -> CompiledBytes | NotCompiled:
    """Compile an int8 TFLite model for devices whose Edge TPU runtime is at least `runtime`, by default the newest."""
    with tempfile.TemporaryDirectory(prefix="skerry-edgetpu-") as name:
        source = Path(name) / "model.tflite"
        source.write_bytes(model)
        try:
            done = compile_models(CompileRequest((source,), Path(name) / "out", runtime=runtime, seconds=seconds))
        except CompileError as error:
            log = error.log.read_text("utf-8") if error.log else ""
            return NotCompiled(error.code, str(error).replace(str(source), "the model"), log)
        made = done.models[0]
        log = Path(done.log).read_text("utf-8")
        return CompiledBytes(Path(made.files[0].path).read_bytes(), log, done.version, made)
