"""Runs a model in this process on the runtime that devices use (ai-edge-litert, onnxruntime): trusted bytes only."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from skerry_agent.processing import Array, Feeding, Sample, SampleSequence
from skerry_host.builder.modelfile.describe import describe_any, is_tflite
from skerry_host.builder.modelfile.graph import Graph
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.progress import Progress, silent, watched
from skerry_host.builder.runtime.probe import one_line
from skerry_host.library_noise import silenced

WORKERS = 4
PART = 32
"""Samples between two reports of progress."""


Runner = Callable[[Sequence[Array]], list[Array]]


class Session:
    """A loaded model: takes all inputs, gives all outputs, both in its own order and dtypes. Keeps what is fed back.

    Without `default_kernels` the runtime computes it another way that is as right, as another device may: TFLite's own
    kernels for XNNPACK's, float arithmetic between quantize and dequantize for onnxruntime's integer kernels.
    """

    __slots__ = ("_runner", "_states", "graph", "inputs", "outputs")

    def __init__(self, data: bytes, threads: int = 1, *, default_kernels: bool = True) -> None:
        self.graph = describe_any(data)
        self.inputs = self.graph.input_specs()
        self.outputs = self.graph.output_specs()
        make = _TfliteRunner if is_tflite(data) else _onnx_runner
        self._runner = make(data, self.graph, threads, default_kernels)
        self._states: Mapping[str, Array] = {}

    def run(self, tensors: Sequence[Array]) -> list[Array]:
        """The outputs, batch of 1 included, for inputs of the model's shapes and dtypes; raises `ModelError`."""
        return self._runner(tensors)

    def answers(self, rows: Sequence[Sequence[Array]]) -> list[Array]:
        """For each output one array (N, ...) over ready inputs, N > 0."""
        return [stacked(column) for column in zip(*map(self.run, rows), strict=True)]

    def tensors(self, sample: Sample, feeding: Feeding) -> list[Array]:
        """A raw sample as all inputs, preprocessed as a device does it, with what was fed back so far."""
        return feeding.tensors(sample, self.inputs, self._states)

    def run_raw(self, sample: Sample, feeding: Feeding) -> list[Array]:
        """The outputs for a raw sample, which is the next one of its stream where outputs are fed back."""
        answers = self.run(self.tensors(sample, feeding))
        if feeding.feedback:
            named = {spec.name: answer for spec, answer in zip(self.outputs, answers, strict=True)}
            self._states = feeding.states(named, self.inputs, self.outputs)
        return answers


class _TfliteRunner:
    """A loaded TFLite model; call it with its inputs for its outputs."""

    def __init__(self, data: bytes, graph: Graph, threads: int, default_kernels: bool) -> None:
        self._graph = graph
        kernels = OpResolverType.AUTO if default_kernels else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            with silenced():  # its errors come as exceptions
                self._interpreter = Interpreter(
                    model_content=data, num_threads=threads, experimental_op_resolver_type=kernels
                )
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"the model does not load: {one_line(error)}", code="does_not_load") from None

    def __call__(self, tensors: Sequence[Array]) -> list[Array]:
        try:
            for index, tensor in zip(self._graph.inputs, tensors, strict=True):
                self._interpreter.set_tensor(index, tensor)
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"the model does not run: {one_line(error)}", code="does_not_run") from None
        return [self._interpreter.get_tensor(index) for index in self._graph.outputs]


def _onnx_runner(data: bytes, _graph: Graph, threads: int, default_kernels: bool) -> Runner:
    from skerry_host.builder.runtime.onnx_session import OnnxRunner  # noqa: PLC0415  (an extra)

    return OnnxRunner(data, threads, fused=default_kernels)


def is_stateful(graph: Graph, feeding: Feeding) -> bool:
    """Whether an answer depends on the samples before: the model keeps variables, or is fed back what it said."""
    return bool(feeding.feedback) or keeps_variables(graph)


def keeps_variables(graph: Graph) -> bool:
    """Whether the model itself keeps something from sample to sample, where nobody can set it."""
    return any(op.name == "ASSIGN_VARIABLE" for op in graph.ops)


class Sessions:
    """One loaded model for each core, each with one thread: small models are slower with two threads than with one.

    A stateful model is loaded once, and gets its samples in their order.
    """

    __slots__ = ("_cores", "_feeding", "_idle", "graph", "inputs")

    def __init__(self, data: bytes, feeding: Feeding, most: int = WORKERS, *, default_kernels: bool = True) -> None:
        self.graph = describe_any(data)
        self.inputs = self.graph.input_specs()
        in_order = is_stateful(self.graph, feeding)
        self._cores = 1 if in_order else max(1, min(WORKERS, most, os.cpu_count() or 1))
        self._feeding = feeding
        self._idle: SimpleQueue[Session] = SimpleQueue()
        for _ in range(self._cores):
            self._idle.put(Session(data, default_kernels=default_kernels))

    def run(self, samples: SampleSequence, chosen: Sequence[int] | Array, progress: Progress = silent) -> list[Array]:
        """For each output one array (N, ...) over the chosen ones of raw samples, N > 0."""
        parts = np.array_split(np.asarray(chosen), max(self._cores, len(chosen) // PART))
        with ThreadPoolExecutor(self._cores) as pool:
            done = pool.map(lambda part: self._rows(samples, part), parts)
            tasks = watched(
                zip(parts, done, strict=True), f"evaluating {len(samples)} samples", progress, of=len(parts)
            )
            rows = [row for _part, answers in tasks for row in answers]
        return [stacked(column) for column in zip(*rows, strict=True)]

    def answers(self, rows: Sequence[Sequence[Array]]) -> list[Array]:
        """For each output one array (N, ...) over ready inputs of the model's shapes and dtypes, N > 0."""
        with ThreadPoolExecutor(self._cores) as pool:
            return [stacked(column) for column in zip(*pool.map(self._answer, rows), strict=True)]

    @contextmanager
    def lent(self) -> Iterator[Session]:
        """One of the loaded models, for a while."""
        session = self._idle.get()
        try:
            yield session
        finally:
            self._idle.put(session)

    def _answer(self, tensors: Sequence[Array]) -> list[Array]:
        with self.lent() as session:
            return session.run(tensors)

    def _rows(self, samples: SampleSequence, part: Array) -> list[list[Array]]:
        with self.lent() as session:
            return [session.run_raw(samples[int(index)], self._feeding) for index in part]


def stacked(rows: Sequence[Array]) -> Array:
    """One array (N, ...) of a tensor of N samples: without its batch of 1, or whole where it has none."""
    return np.concatenate(rows) if rows[0].shape[:1] == (1,) else np.stack(rows)


def run_all(data: bytes, samples: SampleSequence, feeding: Feeding, progress: Progress = silent) -> list[Array]:
    """For each output of a model one array (N, ...) over raw samples, N > 0, in their order."""
    return Sessions(data, feeding, len(samples)).run(samples, range(len(samples)), progress)
