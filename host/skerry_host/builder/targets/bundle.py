"""A target's part of a release: the bundle that a device gets, and the files of it. Writes none."""

from msgspec import Struct

from skerry_agent.processing import save_golden
from skerry_agent.wire import blobs
from skerry_agent.wire.drift import DriftBaseline
from skerry_agent.wire.manifest import Artifact, Baseline, Bundle, Role
from skerry_agent.wire.targets import CPU, Target
from skerry_host.builder.judge.golden import Recorded
from skerry_host.builder.recipe.recipe import Recipe
from skerry_host.builder.runtime.session import Session


class Part(Struct, frozen=True):
    """A bundle, and the content of its files by name."""

    bundle: Bundle
    files: dict[str, bytes]

    @property
    def model(self) -> bytes:
        """The model file."""
        return self.files[self.bundle.model.name]


class Usual(Struct, frozen=True):
    """What is usual of a model: how often it finds something, and what inputs and answers are like."""

    baseline: Baseline | None = None
    drift: DriftBaseline | None = None


_UNKNOWN = Usual()


def part_of(target: Target, model: bytes, golden: Recorded, recipe: Recipe, usual: Usual = _UNKNOWN) -> Part:
    """What a device gets of a target; `recipe` is the one whose preprocessing fits the model."""
    session = Session(model)
    files = _files(target, model, golden, recipe)
    bundle = Bundle(
        target=target.name,
        artifacts=tuple(Artifact(name, role, blobs.describe(content)) for name, role, content in files),
        inputs=session.inputs,
        outputs=session.outputs,
        task=recipe.task,
        preprocess=recipe.preprocess,
        postprocess=recipe.postprocess,
        golden=golden.limits,
        probation=recipe.probation,
        baseline=usual.baseline,
        drift=usual.drift,
        joins=session.graph.joins,
        preprocesses=recipe.feeding.preprocesses[1:],
        feedback=dict(recipe.feeding.feedback),
    )
    return Part(bundle, {name: content for name, _role, content in files})


def _files(target: Target, model: bytes, golden: Recorded, recipe: Recipe) -> list[tuple[str, Role, bytes]]:
    """(name, role, content) of each artifact; those of another target than cpu carry its name."""
    prefix = "" if target is CPU else f"{target.name}-"
    files: list[tuple[str, Role, bytes]] = [
        (f"{prefix}model{target.suffix}", "model", model),
        (f"{prefix}golden.npz", "golden", save_golden(golden.golden)),
    ]
    if recipe.labels.names:
        files.append(("labels.txt", "labels", "".join(f"{label}\n" for label in recipe.labels.names).encode()))
    return files
