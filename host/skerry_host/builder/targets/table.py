"""The table of target builders, and which of them a build takes. A new target is a file here and an entry of it."""

from collections.abc import Sequence

from skerry_agent.wire.targets import TARGETS, TargetName
from skerry_host.boards import Board, BoardError
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import SourceModel
from skerry_host.builder.targets.base import TargetBuilder
from skerry_host.builder.targets.cpu import CpuBuilder
from skerry_host.builder.targets.edgetpu import EdgeTpuBuilder
from skerry_host.builder.targets.onnx import OnnxBuilder

BUILDERS: dict[TargetName, TargetBuilder] = {
    builder.target.name: builder for builder in (CpuBuilder(), OnnxBuilder(), EdgeTpuBuilder())
}
_MADE = [name for name, builder in BUILDERS.items() if builder.target.fallback is None]
"""Those whose model is made from a source, not compiled from another's."""


def choose_targets(board: Board, asked: Sequence[str] = ()) -> list[TargetBuilder]:
    """The builders for a board: of the targets asked for, else of all that it runs and that can be built.

    One that is compiled has its fallback here, which stays beside it. Raises `BoardError` when the board cannot run
    what is asked for, or nothing that it runs can be built.
    """
    wanted = [board.require(target) for target in asked] or [target for target in board.targets if target in _MADE]
    made = list(dict.fromkeys(TARGETS[target].fallback or target for target in wanted))
    missing = [target for target in made if target not in _MADE] or ([] if made else list(board.targets))
    if missing:
        hint = f"it builds {', '.join(_MADE)}"
        raise BoardError(f"this Skerry builds no {', '.join(missing)} artifact", hint=hint, code="target")
    return [BUILDERS[target] for target in made]


def for_source(
    builders: Sequence[TargetBuilder], source: SourceModel, plan: Quantize
) -> tuple[list[TargetBuilder], dict[TargetName, str]]:
    """Those that can work on a source as planned, and why each other cannot: only ONNX gives an `onnx` bundle, in int8.

    Raises `ModelError` when nothing is left.
    """
    problems = {builder.target.name: builder.problem(source, plan) for builder in builders}
    fitting = [builder for builder in builders if not problems[builder.target.name]]
    for builder in builders if not fitting else ():
        problem = problems[builder.target.name]
        raise ModelError(f"no {builder.target.name} target: {problem}", hint=builder.hint, code="target")
    return fitting, {name: problem for name, problem in problems.items() if problem}


def for_file(suffix: str) -> TargetBuilder:
    """The builder whose models are files of a kind: `.tflite` or `.onnx`."""
    return next(builder for builder in BUILDERS.values() if builder.target.suffix == suffix)


def compiled_from(board: Board, base: TargetName) -> TargetBuilder | None:
    """The builder that compiles a target's model for the board's accelerator, None where the board has none."""
    return next((BUILDERS[name] for name in board.targets if TARGETS[name].fallback == base), None)


def compilers(board: Board, asked: Sequence[str] = ()) -> list[TargetBuilder]:
    """The builders that compile for the board's accelerators, as far as no other targets were asked for."""
    wanted = [name for name in board.targets if not asked or name in asked]
    return [BUILDERS[name] for name in wanted if TARGETS[name].fallback is not None]
