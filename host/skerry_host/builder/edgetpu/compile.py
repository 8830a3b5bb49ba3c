"""Compiles int8 models with the user's compiler and accepts only what an Edge TPU can run. Writes files and logs.

The compiler's exit code and its "compiled successfully" are not trusted: an output counts when it exists, holds at
least one Edge TPU operator, and has the inputs and outputs of its source. After a failure for which a search may help,
the run is repeated once with `-d`.
"""

import re
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import Struct

from skerry_host.boards import NEWEST_EDGETPU_RUNTIME
from skerry_host.builder.edgetpu.compare import Comparison, compare
from skerry_host.builder.edgetpu.compiler import GRACE_S, Compiler, Run, find_compiler, run_compiler
from skerry_host.builder.edgetpu.errors import CompileError
from skerry_host.builder.edgetpu.inspect import Inspection, inspect_file
from skerry_host.builder.edgetpu.io_match import io_differences
from skerry_host.builder.edgetpu.log import CompilerLog, ModelLog, read_log
from skerry_host.builder.edgetpu.preflight import Preflight, preflight_file
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.runtime.probe import check_head
from skerry_host.files import write_atomic

SEARCH_HELPS = {"internal", "failed", "large_activations", "crash"}
"""Failures after which a search for a part that compiles (`-d`) may succeed."""
SEARCH_RUNS = 5
"""A search compiles part after part, each with the compiler's own limit: it may take so many times that limit."""

_UNSTARTED = {125, 126, 127}
"""What docker and shells end with when there is no such image or program, or it cannot be run."""

_HINTS = {
    "not_started": "build or pull the container image, and check that it has edgetpu_compiler (`docker images`)",
    "not_quantized": "give it the int8 model; `skerry model build` makes one",
    "unparsable": "the compiler reads files of TensorFlow 2.6 or older; see `skerry edgetpu preflight`",
    "unsupported_version": "see `skerry edgetpu preflight` for the operator; convert with older settings",
    "dynamic": "fix the shapes of the model's inputs when exporting it",
    "large_activations": "make the input smaller",
    "internal": "the compiler is not deterministic: try again, or change the operators that preflight is unsure of",
    "timeout": "allow more with --timeout, search for a part that compiles with -d, or make the input smaller",
    "other_model": "check that $SKERRY_EDGETPU_COMPILER is the vendor's compiler, not a script that keeps old outputs",
    "zero_ops": "see `skerry edgetpu preflight` for what stays on the CPU, and why",
    "zero_ops_pinned": "try without -m, or see `skerry edgetpu preflight` for what stays on the CPU, and why",
}


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """What to compile: several models are co-compiled, `segments` > 1 makes a pipeline over so many Edge TPUs.

    `runtime` is the lowest runtime version that the output must run on; it is pinned where that is not the newest there
    is. `seconds` is the compiler's own limit.
    """

    models: tuple[Path, ...]
    out: Path
    runtime: int | None = None
    segments: int = 1
    seconds: float = 180.0
    grace_s: float = GRACE_S
    search: bool = False

    @property
    def limit_s(self) -> float:
        """What one run may take before it is ended."""
        return self.seconds * (SEARCH_RUNS if self.search else 1) + self.grace_s

    def arguments(self) -> list[str]:
        """The options and files of one run, below its folder."""
        options = ["-s", "-o", "out", "-t", f"{self.seconds:.0f}"]
        options += ["-m", str(self.runtime)] if self.runtime not in {None, NEWEST_EDGETPU_RUNTIME} else []
        options += ["-n", str(self.segments)] if self.segments > 1 else []
        options += ["-d"] if self.search else []
        return [*options, *(f"in/{model.name}" for model in self.models)]

    def outputs(self, model: Path) -> list[str]:
        """The names of the files that the compiler makes of a model."""
        if self.segments == 1:
            return [f"{model.stem}_edgetpu.tflite"]
        return [f"{model.stem}_segment_{i}_of_{self.segments}_edgetpu.tflite" for i in range(self.segments)]

    def all_outputs(self) -> list[str]:
        """The names of every file that must come out."""
        return [name for model in self.models for name in self.outputs(model)]

    def names(self) -> str:
        """The sources, for a person."""
        return ", ".join(str(model) for model in self.models)


class CompiledFile(Struct, frozen=True):
    """One output: where it is, what it says of itself and what to know of it, and what the log says of it."""

    path: str
    inspection: Inspection
    warnings: tuple[str, ...]
    log: ModelLog | None


class CompiledModel(Struct, frozen=True):
    """One source with its output, or its segments, and how the prediction fared."""

    source: str
    files: tuple[CompiledFile, ...]
    predicted: Preflight
    comparison: Comparison


class Compilation(Struct, frozen=True):
    """A run that gave what was asked for. `log` is the stored output of every attempt."""

    compiler: str
    version: str
    attempts: int
    searched: bool
    log: str
    models: tuple[CompiledModel, ...]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One run: what it printed, what its outputs say of themselves, and (code, reason) if it gave nothing good."""

    run: Run
    said: CompilerLog
    found: dict[str, Inspection]
    failure: tuple[str, str] | None


def compile_models(request: CompileRequest, compiler: Compiler | str | None = None) -> Compilation:
    """Compile, and write outputs and log to `request.out`; a compiler that is only named is looked for.

    Raises `ModelError` for what is no TFLite file, `NoCompilerError`, and `CompileError` when there is no good output:
    then nothing but the log is written.
    """
    _check(request)
    predicted = [preflight_file(model, request.runtime or NEWEST_EDGETPU_RUNTIME) for model in request.models]
    _require_integers(request.models)
    compiler = find_compiler(compiler) if compiler is None or isinstance(compiler, str) else compiler
    log = request.out / f"{request.models[0].stem}_edgetpu.compiler.log"
    with tempfile.TemporaryDirectory(prefix="skerry-edgetpu-") as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for model in request.models:
            shutil.copyfile(model, folder / "in" / model.name)
        attempts = _attempts(request, compiler, folder)
        write_atomic(log, "\n".join(f"$ {attempt.run.command}\n{attempt.run.output}" for attempt in attempts).encode())
        last = attempts[-1]
        if last.failure:
            code, reason = last.failure
            raise CompileError(reason, hint=_hint(request, code), code=code, log=log)
        models = tuple(
            _model(request, model, found, last, folder) for model, found in zip(request.models, predicted, strict=True)
        )
    searched = request.search or len(attempts) > 1
    return Compilation(str(compiler), last.said.compiler, len(attempts), searched, str(log), models)


def _hint(request: CompileRequest, code: str) -> str:
    """A runtime below what the operators need leaves a file without any of them."""
    pinned = code == "zero_ops" and "-m" in request.arguments()
    return _HINTS.get("zero_ops_pinned" if pinned else code, "")


def _check(request: CompileRequest) -> None:
    """Refuse what the compiler would stumble over."""
    for model in request.models:
        check_head(model)
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\.tflite", model.name):
            raise ModelError(f"{model} cannot be compiled under its name", hint="rename it to NAME.tflite", code="name")
    names = [model.name for model in request.models]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ModelError(f"several models are named {', '.join(twice)}", hint="rename one", code="name")


def _require_integers(models: tuple[Path, ...]) -> None:
    """The compiler takes quantized models only, and needs not be asked to say so."""
    for model in models:
        found = inspect_file(model)
        dtypes = {spec.dtype for spec in (*found.inputs, *found.outputs)}
        if dtypes <= {"float32"} and "QUANTIZE" not in found.cpu_ops:
            raise ModelError(f"{model} is not quantized", hint=_HINTS["not_quantized"], code="not_quantized")


def _attempts(request: CompileRequest, compiler: Compiler, folder: Path) -> list[_Attempt]:
    """One run, and a second that searches if it may help."""
    first = _attempt(request, compiler, folder)
    if first.failure and first.failure[0] in SEARCH_HELPS and not request.search:
        return [first, _attempt(replace(request, search=True), compiler, folder)]
    return [first]


def _attempt(request: CompileRequest, compiler: Compiler, folder: Path) -> _Attempt:
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    run = run_compiler(compiler, folder, request.arguments(), request.limit_s)
    said = read_log(run.output)
    missing = [name for name in request.all_outputs() if not (out / name).is_file()]
    if run.returncode is None or missing:
        return _Attempt(run, said, {}, _refusal(request, run, said))
    found, failure = _check_outputs(request, out)
    return _Attempt(run, said, found, failure)


def _check_outputs(request: CompileRequest, out: Path) -> tuple[dict[str, Inspection], tuple[str, str] | None]:
    """What the outputs say of themselves, and why one of them cannot be used."""
    found: dict[str, Inspection] = {}
    for name in request.all_outputs():
        try:
            found[name] = inspect_file(out / name)
        except ModelError as error:
            why = error.message.replace(str(out / name), name)
            return found, (
                "damaged_output",
                f"the compiler accepted {request.names()}, but its output cannot be read: {why}",
            )
        if not found[name].custom_ops:
            why = f"no operator of {name} would run on an Edge TPU"
            return found, ("zero_ops", f"the compiler accepted {request.names()}, but {why}")
    return found, _wrong_model(request, found)


def _wrong_model(request: CompileRequest, found: dict[str, Inspection]) -> tuple[str, str] | None:
    """Why an output is of another model than its source."""
    for model in request.models:
        wrong = io_differences(inspect_file(model), [found[name] for name in request.outputs(model)])
        if wrong:
            return (
                "other_model",
                f"the compiler accepted {model}, but its output belongs to another model: {'; '.join(wrong)}",
            )
    return None


def _refusal(request: CompileRequest, run: Run, said: CompilerLog) -> tuple[str, str]:
    """Why there is no output."""
    names = request.names()
    if run.returncode is None:
        return "timeout", f"compiling {names} timed out after {request.limit_s:.0f} s"
    if said.failure:
        return said.failure, f"the compiler refused {names}: {said.detail}"
    if run.returncode:
        end = f"signal {-run.returncode}" if run.returncode < 0 else f"exit {run.returncode}"
        if run.returncode in _UNSTARTED:
            return "not_started", f"the compiler did not start on {names} ({end}): {_last_line(run.output)}"
        crashed = run.returncode < 0 or run.returncode >= 128
        return ("crash" if crashed else "failed"), f"the compiler failed on {names} with {end}"
    return "no_output", f"the compiler wrote no output for {names}"


def _last_line(output: str) -> str:
    """The last line that is not advice."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and "--help" not in line]
    return " ".join(lines[-1].split())[:200] if lines else "it printed nothing"


def _model(
    request: CompileRequest, model: Path, predicted: Preflight, attempt: _Attempt, folder: Path
) -> CompiledModel:
    """Keep the outputs of one source."""
    files = []
    for name in request.outputs(model):
        write_atomic(request.out / name, (folder / "out" / name).read_bytes())
        found = attempt.found[name]
        warnings = tuple(found.warnings(request.runtime or NEWEST_EDGETPU_RUNTIME))
        files.append(CompiledFile(str(request.out / name), found, warnings, attempt.said.of(name)))
    return CompiledModel(str(model), tuple(files), predicted, compare(predicted, [file.inspection for file in files]))
