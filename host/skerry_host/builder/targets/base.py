"""The interface of a target. One file each; `table` lists them, and nothing else of the builder tells them apart."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol

from skerry_agent.processing import Feeding
from skerry_agent.wire.manifest import Bundle, Preprocess, TensorSpec
from skerry_agent.wire.targets import Target
from skerry_host.boards import Board
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.edgetpu.build_step import CompiledBytes
from skerry_host.builder.edgetpu.preflight import Preflight
from skerry_host.builder.modelfile.graph import Graph
from skerry_host.builder.recipe.progress import Progress
from skerry_host.builder.recipe.recipe import Quantize, Recipe
from skerry_host.builder.sources.load import SourceModel


@dataclass(frozen=True, slots=True)
class QuantizationJob:
    """What a target's model file is made from; every plan that a search tries is a job of its own."""

    source: SourceModel
    samples: Samples
    feeding: Feeding
    plan: Quantize
    progress: Progress


@dataclass(frozen=True, slots=True)
class Compiled:
    """What became of a target that is compiled from another's model: its bundle and files, or none.

    `remark` is what a person should know of it, `compiled` what the compiler made and said.
    """

    remark: str
    bundle: Bundle | None = None
    files: tuple[tuple[str, bytes], ...] = ()
    compiled: CompiledBytes | None = None


def fitted(recipe: Recipe, model: Graph, builder: "TargetBuilder") -> Recipe:
    """The recipe with the preprocessing that a target's model wants for each of its inputs."""
    return recipe.fitted(model.input_specs(), lambda prep, tensor: builder.preprocess(prep, tensor, model))


class TargetBuilder(Protocol):
    """How the artifacts of one target come to be.

    A target with a fallback is compiled from the fallback's model: its `make` is the fallback's, `compile` the rest.
    """

    target: Target
    searched: bool = True
    """Whether a search's choices make a difference to its model."""
    mixed: bool = False
    """Whether a search may leave some layers float, or give them 16 bit."""
    delta_friendly: bool = True
    """Whether its model can be put on the scale grid of the previous release's."""
    hint: str
    """What to do where it cannot be made of a source."""
    last_resort: str
    """What to try when no quantization setting gives enough SQNR."""

    def plan_problem(self, plan: Quantize) -> str:  # noqa: ARG002  (most take every plan)
        """Why nothing that is made by a plan can run on it, whatever the source; empty if it can."""
        return ""

    @abstractmethod
    def problem(self, source: SourceModel, plan: Quantize) -> str:
        """Why it cannot be made of a source as planned, empty if it can."""

    @abstractmethod
    def float_model(self, source: SourceModel) -> bytes:
        """What its model is compared with: the float model in its own format."""

    def preprocess(self, prep: Preprocess, tensor: TensorSpec, model: Graph) -> Preprocess:  # noqa: ARG002
        """The recipe's preprocessing of an input in the order of axes that its model takes."""
        return prep

    @abstractmethod
    def make(self, job: QuantizationJob) -> bytes:
        """Its model file, checked to run where that is not certain; raises `ModelError`."""

    def predict(self, model: bytes) -> Preflight | None:  # noqa: ARG002
        """Where the operators of its fallback's model will run; None where there is nothing to compile."""
        return None

    def compile(self, board: Board, base: Bundle, model: bytes, progress: Progress) -> Compiled | None:  # noqa: ARG002
        """What its compiler makes of its fallback's bundle and model; None where there is nothing to compile."""
        return None
