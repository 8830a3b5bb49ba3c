"""Compiles int8 models with the user's compiler and accepts only what an Edge TPU can run. Writes files and logs.

The compiler's exit code and its "compiled successfully" are not trusted: an output counts when it exists and holds at
least one Edge TPU operator. A run that fails where a search may help is repeated once with `-d`.
"""

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import Struct

from skerry_host.build.edgetpu.compare import Comparison, compare
from skerry_host.build.edgetpu.compiler import GRACE_S, Compiler, Run, find_compiler, run_compiler
from skerry_host.build.edgetpu.errors import CompileError
from skerry_host.build.edgetpu.inspect import Inspection, inspect_file
from skerry_host.build.edgetpu.log import CompilerLog, ModelLog, read_log
from skerry_host.build.edgetpu.preflight import Preflight, preflight_file
from skerry_host.build.errors import ModelError
from skerry_host.build.probe import check_head
from skerry_host.files import write_atomic

SEARCH_HELPS = {"internal", "failed", "large_activations", "crash"}
"""Failures after which compiling a part of the graph (`-d`) may succeed."""

_HINTS = {
    "not_quantized": "give it the int8 model; `skerry model build` makes one",
    "unparsable": "the compiler reads files of TensorFlow 2.6 or older; see `skerry edgetpu preflight`",
    "unsupported_version": "see `skerry edgetpu preflight` for the operator; convert with older settings",
    "dynamic": "fix the shapes of the model's inputs when exporting it",
    "large_activations": "make the input smaller",
    "internal": "the compiler is flaky: try again, or change the operators that preflight doubts",
    "timeout": "allow more with --timeout",
    "zero_ops": "see `skerry edgetpu preflight` for what stays on the CPU, and why",
}


@dataclass(frozen=True, slots=True)
class Order:
    """What to compile: several models are co-compiled, `segments` > 1 makes a pipeline over so many Edge TPUs.

    `runtime` pins the lowest runtime version that the output must run on; `seconds` is the compiler's own limit.
    """

    models: tuple[Path, ...]
    out: Path
    runtime: int | None = None
    segments: int = 1
    seconds: float = 180.0
    grace_s: float = GRACE_S
    search: bool = False

    def arguments(self) -> list[str]:
        """The options and files of one run, below its folder."""
        options = ["-s", "-o", "out", "-t", f"{self.seconds:.0f}"]
        options += ["-m", str(self.runtime)] if self.runtime is not None else []
        options += ["-n", str(self.segments)] if self.segments > 1 else []
        options += ["-d"] if self.search else []
        return [*options, *(f"in/{model.name}" for model in self.models)]

    def outputs(self, model: Path) -> list[str]:
        """The names of the files that the compiler makes of a model."""
        if self.segments == 1:
            return [f"{model.stem}_edgetpu.tflite"]
        return [f"{model.stem}_segment_{i}_of_{self.segments}_edgetpu.tflite" for i in range(self.segments)]


class CompiledFile(Struct, frozen=True):
    """One output: where it is, what it says of itself, and what the log says of it."""

    path: str
    inspection: Inspection
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


def compile_models(order: Order, compiler: Compiler | None = None) -> Compilation:
    """Compile, and write outputs and log to `order.out`.

    Raises `ModelError` for what is no TFLite file, `NoCompilerError`, and `CompileError` when there is no good output:
    then nothing but the log is written.
    """
    _check(order)
    compiler = compiler or find_compiler()
    predicted = [preflight_file(model) for model in order.models]
    log = order.out / f"{order.models[0].stem}_edgetpu.compiler.log"
    with tempfile.TemporaryDirectory(prefix="skerry-edgetpu-") as name:
        folder = Path(name)
        for model in order.models:
            (folder / "in").mkdir(exist_ok=True)
            shutil.copyfile(model, folder / "in" / model.name)
        runs = _attempts(order, compiler, folder)
        write_atomic(log, "\n".join(f"$ {run.command}\n{run.output}" for run in runs).encode())
        said = read_log(runs[-1].output)
        failure = _failure(order, runs[-1], said, folder)
        if failure:
            raise CompileError(failure[1], hint=_HINTS.get(failure[0], ""), code=failure[0], log=log)
        models = tuple(
            _model(order, model, found, said, folder) for model, found in zip(order.models, predicted, strict=True)
        )
    searched = order.search or len(runs) > 1
    return Compilation(str(compiler), said.compiler, len(runs), searched, str(log), models)


def _check(order: Order) -> None:
    """Refuse what the compiler would stumble over."""
    for model in order.models:
        check_head(model)
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\.tflite", model.name):
            raise ModelError(f"{model} cannot be compiled under its name", hint="rename it to NAME.tflite", code="name")
    names = [model.name for model in order.models]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ModelError(f"several models are named {', '.join(twice)}", hint="rename one", code="name")


def _attempts(order: Order, compiler: Compiler, folder: Path) -> list[Run]:
    """One run, and a second that searches if it may help."""
    runs = [_run(order, compiler, folder)]
    failure = _failure(order, runs[0], read_log(runs[0].output), folder)
    if failure and failure[0] in SEARCH_HELPS and not order.search:
        runs.append(_run(replace(order, search=True), compiler, folder))
    return runs


def _run(order: Order, compiler: Compiler, folder: Path) -> Run:
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    return run_compiler(compiler, folder, order.arguments(), order.seconds + order.grace_s)


def _failure(order: Order, run: Run, said: CompilerLog, folder: Path) -> tuple[str, str] | None:
    """(code, what went wrong) of a run; `None` if every output is there and holds an Edge TPU operator."""
    names = ", ".join(str(model) for model in order.models)
    if run.returncode is None:
        return "timeout", f"compiling {names} took over {order.seconds + order.grace_s:.0f} s and was ended"
    missing = [o for model in order.models for o in order.outputs(model) if not (folder / "out" / o).is_file()]
    if missing:
        return _refusal(names, run, said)
    bad = [found for model in order.models for o in order.outputs(model) if (found := _unfit(folder / "out" / o))]
    return (bad[0][0], f"the compiler took {names}, but {bad[0][1]}") if bad else None


def _refusal(names: str, run: Run, said: CompilerLog) -> tuple[str, str]:
    """Why there is no output."""
    if said.failure:
        return said.failure, f"the compiler refused {names}: {said.detail}"
    if run.returncode:
        end = f"signal {-run.returncode}" if run.returncode < 0 else f"exit {run.returncode}"
        crashed = run.returncode < 0 or run.returncode >= 128
        return ("crash" if crashed else "failed"), f"the compiler ended on {names} with {end}"
    return "no_output", f"the compiler left no output for {names}"


def _unfit(path: Path) -> tuple[str, str] | None:
    """(code, why) an output cannot be used."""
    try:
        found = inspect_file(path)
    except ModelError as error:
        return "damaged_output", f"its output cannot be read: {error.message.replace(str(path), path.name)}"
    return None if found.custom_ops else ("zero_ops", f"nothing of {path.name} would run on an Edge TPU")


def _model(order: Order, model: Path, predicted: Preflight, said: CompilerLog, folder: Path) -> CompiledModel:
    """Keep the outputs of one source."""
    files = []
    for name in order.outputs(model):
        made = folder / "out" / name
        source = model.name if order.segments == 1 else name.replace("_edgetpu.tflite", ".tflite")
        write_atomic(order.out / name, made.read_bytes())
        files.append(CompiledFile(str(order.out / name), inspect_file(made), said.of(source)))
    found: Sequence[Inspection] = [file.inspection for file in files]
    return CompiledModel(str(model), tuple(files), predicted, compare(predicted, found))
