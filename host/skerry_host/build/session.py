"""Runs a TFLite model in this process on the runtime that devices use (ai-edge-litert). Give it trusted bytes only."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from skerry_agent.processing import Array, preprocess
from skerry_agent.wire.manifest import Preprocess
from skerry_host.build.errors import ModelError
from skerry_host.build.graph import describe
from skerry_host.build.probe import one_line
from skerry_host.build.tflite import read_model

THREADS = 2


class Session:
    """A loaded model: takes one input, gives its outputs in the model's own dtypes."""

    __slots__ = ("_interpreter", "graph", "input", "outputs")

    def __init__(self, data: bytes, threads: int = THREADS) -> None:
        self.graph = describe(read_model(data))
        (self.input,) = self.graph.input_specs()
        self.outputs = self.graph.output_specs()
        try:
            with _quiet():
                self._interpreter = Interpreter(model_content=data, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"the model does not load: {one_line(error)}", code="does_not_load") from None

    def run(self, tensor: Array) -> list[Array]:
        """The outputs, batch of 1 included, for an input of the model's shape and dtype; raises `ModelError`."""
        try:
            self._interpreter.set_tensor(self.graph.inputs[0], tensor)
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"the model does not run: {one_line(error)}", code="does_not_run") from None
        return [self._interpreter.get_tensor(index) for index in self.graph.outputs]

    def run_raw(self, sample: Array, prep: Preprocess) -> list[Array]:
        """The outputs for a raw sample, preprocessed as a device does it."""
        return self.run(preprocess(sample, prep, self.input))

    def run_all(self, samples: Sequence[Array] | Array, prep: Preprocess) -> list[Array]:
        """For each output one array (N, ...) over raw samples (N, ...)."""
        rows = [self.run_raw(sample, prep) for sample in samples]
        return [np.concatenate(column) for column in zip(*rows, strict=True)]


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
