"""The interface of every runtime. Measures no time, counts nothing, knows no bundle."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from skerry_agent.runner.tensor import Tensor
from skerry_agent.wire.manifest import TensorSpec


class About(Struct, frozen=True):
    """What runs a model: the runtime's name and version, and what it hands the work to (empty: its own kernels)."""

    name: str
    version: str
    delegate: str = ""


class ModelFile(Struct, frozen=True):
    """What is to be loaded. `min_edgetpu_runtime` is what a compiled model asks of the driver, None if nobody says.

    `title` is what people know it by, where the path is that of an open descriptor.
    """

    path: str
    threads: int = 1
    min_edgetpu_runtime: int | None = None
    title: str = "the model"


class Engine(Protocol):
    """One loaded model. Not thread safe: `skerry_agent.runner.inference` lets in one caller at a time."""

    @property
    def about(self) -> About:
        """Which runtime this is."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs in its own order."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs in its own order."""

    def infer(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Run once on tensors of the model's shapes and dtypes; the outputs are copies.

        Raises `InferenceError` when this one failed, `EngineError` when no other can succeed.
        """

    def close(self) -> None:
        """Give back memory and accelerator."""
