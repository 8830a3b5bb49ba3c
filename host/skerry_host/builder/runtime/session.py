"""Runs a model in this process on the runtime that devices use (ai-edge-litert, onnxruntime): trusted bytes only."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from skerry_agent.processing import Array, preprocess
from skerry_agent.wire.manifest import Preprocess
from skerry_host.builder.modelfile.describe import describe_any, is_tflite
from skerry_host.builder.modelfile.graph import Graph
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.progress import Progress, silent, watched
from skerry_host.builder.runtime.probe import one_line

WORKERS = 4
PART = 32
"""Samples between two reports of progress."""


class Session:
    """A loaded model: takes one input, gives its outputs in the model's own dtypes.

    Without `default_kernels` the runtime computes it another way that is as right, as another device may: TFLite's own
    kernels for XNNPACK's, float arithmetic between quantize and dequantize for onnxruntime's integer kernels.
    """

    __slots__ = ("_runner", "graph", "input", "outputs")

    def __init__(self, data: bytes, threads: int = 1, *, default_kernels: bool = True) -> None:
        self.graph = describe_any(data)
        (self.input,) = self.graph.input_specs()
        self.outputs = self.graph.output_specs()
        make = _TfliteRunner if is_tflite(data) else _onnx_runner
        self._runner = make(data, self.graph, threads, default_kernels)

    def run(self, tensor: Array) -> list[Array]:
        """The outputs, batch of 1 included, for an input of the model's shape and dtype; raises `ModelError`."""
        return self._runner(tensor)

    def run_raw(self, sample: Array, prep: Preprocess) -> list[Array]:
        """The outputs for a raw sample, preprocessed as a device does it."""
        return self.run(preprocess(sample, prep, self.input))


class _TfliteRunner:
    """A loaded TFLite model; call it with its input for its outputs."""

    def __init__(self, data: bytes, graph: Graph, threads: int, default_kernels: bool) -> None:
        self._graph = graph
        kernels = OpResolverType.AUTO if default_kernels else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            with _quiet():
                self._interpreter = Interpreter(
                    model_content=data, num_threads=threads, experimental_op_resolver_type=kernels
                )
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"the model does not load: {one_line(error)}", code="does_not_load") from None

    def __call__(self, tensor: Array) -> list[Array]:
        try:
            self._interpreter.set_tensor(self._graph.inputs[0], tensor)
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"the model does not run: {one_line(error)}", code="does_not_run") from None
        return [self._interpreter.get_tensor(index) for index in self._graph.outputs]


def _onnx_runner(data: bytes, _graph: Graph, threads: int, default_kernels: bool) -> Callable[[Array], list[Array]]:
    from skerry_host.builder.runtime.onnx_session import OnnxRunner  # noqa: PLC0415  (an extra)

    return OnnxRunner(data, threads, fused=default_kernels)


def is_stateful(graph: Graph) -> bool:
    """Whether an answer depends on the samples before: the model keeps variables (a streaming model)."""
    return any(op.name == "ASSIGN_VARIABLE" for op in graph.ops)


class Sessions:
    """One loaded model for each core, each with one thread: small models are slower with two threads than with one.

    A stateful model is loaded once, and gets its samples in their order.
    """

    __slots__ = ("_cores", "_idle")

    def __init__(self, data: bytes, most: int = WORKERS) -> None:
        self._cores = 1 if is_stateful(describe_any(data)) else max(1, min(WORKERS, most, os.cpu_count() or 1))
        self._idle: SimpleQueue[Session] = SimpleQueue()
        for _ in range(self._cores):
            self._idle.put(Session(data))

    def run(
        self, samples: Array, chosen: Sequence[int] | Array, prep: Preprocess, progress: Progress = silent
    ) -> list[Array]:
        """For each output one array (N, ...) over the chosen ones of raw samples, N > 0."""
        parts = np.array_split(np.asarray(chosen), max(self._cores, len(chosen) // PART))
        with ThreadPoolExecutor(self._cores) as pool:
            done = pool.map(lambda part: self._rows(samples, part, prep), parts)
            tasks = watched(
                zip(parts, done, strict=True), f"evaluating {len(samples)} samples", progress, of=len(parts)
            )
            rows = [row for _part, answers in tasks for row in answers]
        return [np.concatenate(column) for column in zip(*rows, strict=True)]

    def _rows(self, samples: Array, part: Array, prep: Preprocess) -> list[list[Array]]:
        session = self._idle.get()
        try:
            return [session.run_raw(samples[index], prep) for index in part]
        finally:
            self._idle.put(session)


def run_all(data: bytes, samples: Array, prep: Preprocess, progress: Progress = silent) -> list[Array]:
    """For each output of a model one array (N, ...) over raw samples (N, ...), N > 0, in their order."""
    return Sessions(data, len(samples)).run(samples, range(len(samples)), prep, progress)


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what the runtime's C++ code writes to descriptor 2; its errors come as exceptions."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
