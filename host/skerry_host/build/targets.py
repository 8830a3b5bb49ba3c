"""Which targets can be built, and how the artifacts of each come to be. Chooses; the work is in the other modules.

A new target becomes a function and an entry of `BUILDERS`.
"""

from collections.abc import Callable, Sequence

from skerry_agent.wire.manifest import Preprocess, Target
from skerry_host.boards import Board, BoardError
from skerry_host.build.data import Samples
from skerry_host.build.load import Source
from skerry_host.build.progress import Progress
from skerry_host.build.quantize import quantize
from skerry_host.build.recipe import Quantize

Builder = Callable[[Source, Samples, Preprocess, Quantize, Progress], bytes]

BUILDERS: dict[Target, Builder] = {"cpu": quantize}
"""For each target what makes its model file from the float one."""


def choose_targets(board: Board, asked: Sequence[str] = ()) -> list[Target]:
    """The targets to build for a board: those asked for, else all that it runs and that can be built.

    Raises `BoardError` when the board cannot run what is asked for, or nothing that it runs can be built.
    """
    wanted = [board.require(target) for target in asked] or [t for t in board.targets if t in BUILDERS]
    missing = [target for target in wanted if target not in BUILDERS] or ([] if wanted else list(board.targets))
    if missing:
        hint = f"it builds {', '.join(BUILDERS)}"
        raise BoardError(f"this Skerry builds no {', '.join(missing)} artifact", hint=hint, code="target")
    return wanted
