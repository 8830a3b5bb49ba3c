"""Which targets can be built, and how the artifacts of each come to be. Chooses; the work is in the other modules.

A new target becomes a function and an entry of `BUILDERS`.
"""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from skerry_agent.wire.manifest import Preprocess
from skerry_agent.wire.targets import TargetName
from skerry_host.boards import Board, BoardError
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.modelfile.graph import Graph
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.progress import Progress
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import Source

Builder = Callable[[Source, Samples, Preprocess, Quantize, Progress], bytes]


def _onnx(source: Source, samples: Samples, prep: Preprocess, plan: Quantize, progress: Progress) -> bytes:
    from skerry_host.builder.quantize.onnx import quantize_onnx  # noqa: PLC0415  (an extra)

    return quantize_onnx(source, samples, prep, plan, progress)


BUILDERS: dict[TargetName, Builder] = {"cpu": quantize, "onnx": _onnx}
"""For each target what makes its model file from the float one."""
SUFFIXES: dict[TargetName, str] = {"cpu": ".tflite", "edgetpu": ".tflite", "onnx": ".onnx"}
"""What the model file of a target is called."""


def for_source(
    targets: Sequence[TargetName], source: Source, plan: Quantize, asked: Sequence[str] = ()
) -> list[TargetName]:
    """The targets that can be made of a source as planned: only an ONNX one gives an `onnx` bundle, in int8.

    Raises `ModelError` when another was asked for, or nothing is left.
    """
    problems = {target: _problem(target, source, plan) for target in targets}
    fitting = [target for target, problem in problems.items() if not problem]
    missing = [target for target in targets if problems[target] and (target in asked or not fitting)]
    if missing:
        raise ModelError(f"no {missing[0]} target: {problems[missing[0]]}", hint=_HINTS[missing[0]], code="target")
    return fitting


_HINTS: dict[TargetName, str] = {
    "onnx": "give a float ONNX model and activations = 'int8', or build target cpu",
    "cpu": "give the float ONNX model, or build target onnx for a board that has it",
}


def _problem(target: TargetName, source: Source, plan: Quantize) -> str:
    """Why a target cannot be made of a source, empty if it can."""
    if target != "onnx":
        return "" if source.waist else "an ONNX model that is quantized already cannot become TFLite without harm"
    if source.onnx is None:
        return "it needs an ONNX source"
    return "" if plan.activations == "int8" or source.quantized else "it is built with int8 activations only"


def float_model(target: TargetName, source: Source) -> bytes:
    """What the target's model is compared with: the float model in its own format."""
    return source.onnx if target == "onnx" and source.onnx is not None else source.data


def preprocess_for(target: TargetName, prep: Preprocess, model: Graph) -> Preprocess:
    """The recipe's preprocessing in the order of axes that the target's model takes."""
    (tensor,) = model.input_specs()
    planes = target == "onnx" and len(tensor.shape) == 4 and tensor.shape[1] in {1, 3, 4}
    return replace(prep, layout="nchw") if planes else prep


def choose_targets(board: Board, asked: Sequence[str] = ()) -> list[TargetName]:
    """The targets to build for a board: those asked for, else all that it runs and that can be built.

    Raises `BoardError` when the board cannot run what is asked for, or nothing that it runs can be built.
    """
    wanted = [board.require(target) for target in asked] or [t for t in board.targets if t in BUILDERS]
    if "edgetpu" in wanted:  # made of the cpu bundle, which stays as its fallback
        wanted = list(dict.fromkeys("cpu" if target == "edgetpu" else target for target in wanted))
    missing = [target for target in wanted if target not in BUILDERS] or ([] if wanted else list(board.targets))
    if missing:
        hint = f"it builds {', '.join(BUILDERS)}"
        raise BoardError(f"this Skerry builds no {', '.join(missing)} artifact", hint=hint, code="target")
    return wanted
