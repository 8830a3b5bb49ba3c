"""Loads and runs an untrusted model file once, in a child process that may crash, hang or run out of memory.

The child parses the file, loads it, runs it once on zeros, and checks whether the kernels that replace XNNPACK would
run it. Says nothing of the model's accuracy.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from skerry_host import children
from skerry_host.builder.modelfile.graph import Graph, Tensor, describe
from skerry_host.builder.modelfile.tflite import IDENTIFIER, read_model, text
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.runtime.ended import ending, out_of_memory

SECONDS = 60
MEMORY_BYTES = 4 * 1024**3
MAX_FILE_BYTES = 512 * 1024**2

_MAGIC = {
    b"\x89HDF": ("a Keras HDF5 file", "if it is, rename it to .h5"),
    b"PK\x03\x04": ("a zip archive", "if it is of Keras, rename it to .keras; a PyTorch one: torch.onnx.export"),
    b"\x08": ("perhaps an ONNX file", "if it is, rename it to .onnx"),
}
"""First bytes of other files: what they look like, and what to do."""


class Probe(Struct, frozen=True):
    """What the child found: the graph, and why the model does not run (empty if it does).

    `sizes` of tensors by index, where the sizes of inputs were asked for.
    """

    graph: Graph
    problem: str = ""
    sizes: dict[int, tuple[int, ...]] = {}

    def require_runs(self, path: Path) -> None:
        """Raise `ModelError` when the model did not run."""
        if self.problem:
            hint = "it needs an accelerator or another runtime" if self.graph.custom_ops else _HINT
            raise ModelError(f"{path} does not run here: {self.problem}", hint=hint, code="does_not_run")


def probe(path: Path, *, seconds: float = SECONDS, shapes: Mapping[str, Sequence[int]] | None = None) -> Probe:
    """Look at a file; raises `ModelError` when it is not TFLite, truncated, or crashes or hangs the child.

    With `shapes` by the names of inputs it is run at these sizes.
    """
    check_head(path)
    return _look(str(path), str(path), seconds, shapes=shapes)


def probe_bytes(model: bytes, name: str) -> Probe:
    """The same of a model in memory; `name` is what an error calls it."""
    return _look(_STDIN, name, SECONDS, model)


def check_runs(model: bytes) -> None:
    """Run a model that was just quantized in a child before this process does; raises `ModelError` when it does not."""
    with check_when_made() as check:
        check(model)


@contextmanager
def check_when_made() -> Iterator[Callable[[bytes], None]]:
    """`check_runs` of a model that is still to be made: the child gets ready meanwhile, most of its time is that."""
    with _child_for(_STDIN, "{}") as child:
        try:
            yield lambda model: _require_runs(model, child)
        finally:
            child.kill()


def _require_runs(model: bytes, child: "subprocess.Popen[bytes]") -> None:
    problem = _ask(child, "the quantized model", SECONDS, model).problem
    if problem:
        text, hint = quantized_cause(model, problem)
        raise ModelError(f"the quantized model does not run: {text}", hint=hint, code="does_not_run")


_NODE = re.compile(r"Node number \d+ \((\w+)\) failed to (prepare|invoke)")
TINY_SCALE = 1e-20
"""A scale under this divides to infinity: the values that it stands for are all but zero."""


def quantized_cause(model: bytes, problem: str) -> tuple[str, str]:
    """Why a model that was just quantized does not run, and what to do: from its scales and the runtime's words."""
    vanishing = _vanishing(model)
    if vanishing:
        names = ", ".join(vanishing[:3])
        return (
            f"the values of {names} are all but zero, so that they have no scale ({problem})",
            "check the source model",
        )
    found = _NODE.search(problem)
    if found and not found[1].startswith("TfLite"):  # a delegate is no operator of the model
        own = f"the runtime has no kernel for operator {found[1]} with these integers ({problem})"
        return own, f"write the model without {found[1]}, or compute that operator before or behind the model"
    return problem, "that is the runtime's own message"


def _vanishing(model: bytes) -> list[str]:
    """The names of tensors whose scale is zero, or as good as."""
    tensors = read_model(model).subgraphs[0].tensors
    scaled = [t for t in tensors if t.quantization is not None and t.quantization.scale is not None]
    return [text(t.name) for t in scaled if any(abs(s) < TINY_SCALE for s in t.quantization.scale)]


_STDIN = "-"


def _look(
    place: str,
    name: str,
    seconds: float,
    model: bytes | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Probe:
    wanted = json.dumps({name: list(sizes) for name, sizes in (shapes or {}).items()})
    with _child_for(place, wanted) as child:
        try:
            return _ask(child, name, seconds, model)
        finally:
            child.kill()


def _child_for(place: str, wanted: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "skerry_host.builder.runtime.probe", place, wanted]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=children.environment(), stdin=pipe, stdout=pipe, stderr=pipe)


def _ask(child: "subprocess.Popen[bytes]", name: str, seconds: float, model: bytes | None) -> Probe:
    try:
        out, said = child.communicate(model, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"{name}: loading and running it timed out after {seconds:.0f} s", hint=_HINT, code="hang"
        ) from None
    return read_outcome(name, subprocess.CompletedProcess(child.args, child.returncode, out, said))


def read_outcome(path: Path | str, done: "subprocess.CompletedProcess[bytes]") -> Probe:
    """What a child that has ended says of `path`; raises `ModelError` when it died or could not parse the file."""
    lines = [line for line in done.stdout.splitlines() if line.startswith(b"{")]
    said = done.stderr.decode("utf-8", "replace") if done.stderr else ""
    if done.returncode < 0 or (not lines and out_of_memory(said)):
        message, advice, code = ending(f"{path}: loading and running it", done.returncode, said, MEMORY_BYTES)
        raise ModelError(message, hint=advice or _HINT, code=code)
    if not lines:
        raise ModelError(f"{path} is truncated or damaged", hint=_HINT, code="damaged")
    try:
        return msgspec.json.decode(lines[-1], type=Probe)
    except msgspec.DecodeError:  # JSON has no infinity, and no such scale is of use
        raise ModelError(f"{path} is damaged: a value in it is not a number", hint=_HINT, code="damaged") from None


_HINT = "export it again, and check where it came from"


def check_head(path: Path) -> None:
    """Refuse what is plainly something else before a parser sees it."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}", code="no_model") from None
    if size > MAX_FILE_BYTES:
        raise ModelError(f"{path} is {size} bytes", hint=f"the limit is {MAX_FILE_BYTES}", code="too_large")
    if not head:
        raise ModelError(f"{path} is empty", hint="copy or export it again", code="not_tflite")
    if head[4:8] != IDENTIFIER:
        unknown = (
            "",
            "a model is a .tflite, .onnx, .keras or .h5 file, a SavedModel's folder, or a .py that builds it",
        )
        kind, hint = next((found for magic, found in _MAGIC.items() if head.startswith(magic)), unknown)
        looks = f"; it looks like {kind}" if kind else ""
        raise ModelError(f"{path} is not a TFLite file{looks}", hint=hint, code="not_tflite")


def _child(place: str, wanted: str) -> None:
    """What the child does: reads the graph, loads and runs the model, prints what it found."""
    children.limit(MEMORY_BYTES)
    import ai_edge_litert.interpreter  # noqa: F401, PLC0415  (before the model is there)

    data = sys.stdin.buffer.read() if place == _STDIN else Path(place).read_bytes()
    graph = describe(read_model(data))
    shapes = msgspec.json.decode(wanted, type=dict[str, tuple[int, ...]])
    found = _sized(data, graph, shapes) if shapes else Probe(graph, _run(data, graph))
    print(json.dumps(msgspec.to_builtins(found)), flush=True)  # noqa: T201  (the protocol)


def _sized(data: bytes, graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> Probe:
    """The sizes of all tensors at these sizes of inputs, or why it does not run at them."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType  # noqa: PLC0415  (only the child loads it)

    inputs = {spec.name: graph.tensors[at] for spec, at in zip(graph.input_specs(), graph.inputs, strict=True)}
    problem = next((words for name in shapes if (words := _misfit(name, shapes[name], inputs))), "")
    if problem:
        return Probe(graph, problem)
    try:
        interpreter: Any = Interpreter(
            model_content=data,
            num_threads=1,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        for name, sizes in shapes.items():
            interpreter.resize_tensor_input(inputs[name].index, sizes)
        interpreter.allocate_tensors()
        interpreter.invoke()
        details = interpreter.get_tensor_details()
    except (RuntimeError, ValueError, MemoryError) as error:
        return Probe(graph, f"at the sizes of [source.shapes]: {one_line(error)}")
    known = len(graph.tensors)
    return Probe(graph, sizes={d["index"]: tuple(map(int, d["shape"])) for d in details if d["index"] < known})


def _misfit(name: str, sizes: tuple[int, ...], inputs: Mapping[str, Tensor]) -> str:
    """Why an input cannot have these sizes, empty if it can."""
    if name not in inputs:
        return f"[source.shapes] names {name}, its inputs are {', '.join(inputs)}"
    own = inputs[name].signature
    if len(own) == len(sizes) and all(old in {-1, new} for old, new in zip(own, sizes, strict=True)):
        return ""
    shown = ["x".join("?" if n < 0 else str(n) for n in one) for one in (own, sizes)]
    return f"input {name} has shape {shown[0]}, [source.shapes] says {shown[1]}"


def one_line(error: Exception) -> str:
    """A runtime's error without its line breaks and its advice to programmers."""
    text = str(error).partition("See instructions:")[0]
    text = re.sub(r"\.(?=[A-Z])", ". ", text)  # the runtime glues its sentences together
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def _run(data: bytes, graph: Graph) -> str:
    """Why the model does not run, in one line; empty if it does."""
    import numpy as np  # noqa: PLC0415  (only the child loads these)
    from ai_edge_litert.interpreter import Interpreter, OpResolverType  # noqa: PLC0415

    try:
        interpreter: Any = Interpreter(model_content=data, num_threads=1)
        interpreter.allocate_tensors()
        for tensor in (graph.tensors[index] for index in graph.inputs):
            if tensor.dtype != "string":  # what lies in memory would be ids behind every table
                interpreter.set_tensor(tensor.index, np.zeros(tensor.shape, tensor.dtype))
        interpreter.invoke()
        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # what runs where there is no XNNPACK
        Interpreter(model_content=data, experimental_op_resolver_type=plain).allocate_tensors()
    except (RuntimeError, ValueError, MemoryError) as error:
        return one_line(error)
    return ""


if __name__ == "__main__":
    _child(*sys.argv[1:3])
