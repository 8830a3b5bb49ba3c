"""The whole build: recipe and source in, a folder of proven artifacts out, or the reasons why not.

Decides nothing itself: `gates` judges, `targets` makes artifacts. Nothing is written unless every gate passes.
"""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import metadata
from math import prod
from pathlib import Path

import msgspec

from skerry_agent.processing import GoldenSet, compare_golden, constant, save_golden
from skerry_agent.wire import blobs, codec
from skerry_agent.wire.manifest import Artifact, Bundle, Golden, Provenance, Quality, Role
from skerry_agent.wire.targets import TargetName
from skerry_host.boards import Board, load_board
from skerry_host.build_record import FILE, BuildRecord
from skerry_host.builder.data import lint
from skerry_host.builder.data.samples import DataSet, load_data
from skerry_host.builder.diagnose.activations import activations_of
from skerry_host.builder.diagnose.advice import Tried, explain
from skerry_host.builder.diagnose.layers import layers
from skerry_host.builder.diagnose.tally import Layer
from skerry_host.builder.edgetpu.preflight import preflight_model
from skerry_host.builder.judge import golden as golden_samples
from skerry_host.builder.judge.evaluate import Score, evaluate, sqnr_by_output
from skerry_host.builder.judge.gates import Measured, judge
from skerry_host.builder.judge.metrics import AGREEMENTS
from skerry_host.builder.modelfile.describe import describe_any
from skerry_host.builder.output import check_output, write_folder
from skerry_host.builder.recipe.errors import BuildRefused, RecipeError
from skerry_host.builder.recipe.progress import Progress, silent
from skerry_host.builder.recipe.recipe import LoadedRecipe, Quantize, Recipe, load_recipe
from skerry_host.builder.report.facts import Facts, TargetFacts
from skerry_host.builder.report.page import NAME as REPORT
from skerry_host.builder.report.page import render
from skerry_host.builder.runtime.latency import measure
from skerry_host.builder.runtime.session import Session
from skerry_host.builder.runtime.speed import with_speeds
from skerry_host.builder.sources.load import Source, identity, load_source
from skerry_host.builder.targets.choose import Chosen, Work, choose
from skerry_host.builder.targets.delta_friendly import Past, keep_near
from skerry_host.builder.targets.edgetpu import EdgeTpu, edgetpu_part
from skerry_host.builder.targets.table import SUFFIXES, choose_targets, float_model, for_source, preprocess_for

AS_IT_IS = "the source is quantized already and taken as it is: no float model is at hand to compare with"
NO_LABELS = "the evaluation samples have no labels: how good a model is that came quantized is not known"
TOOLS = ("litert-quantizer", "ai-edge-litert", "numpy", "skerry-host")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built. `now` is written into the provenance; without `version` the newest source is taken.

    `trust_source` lets a source that carries code run it. `previous` is the cpu model of the release before.
    """

    recipe: Path
    board: str
    now: datetime
    version: str | None = None
    out: Path | None = None
    targets: Sequence[str] = ()
    trust_source: bool = False
    previous: bytes | None = None


@dataclass(frozen=True, slots=True)
class Build:
    """A finished build, its folder, and its report (HTML)."""

    path: Path
    record: BuildRecord
    report: str


@dataclass(frozen=True, slots=True)
class _Made:
    """One target's part: its bundle, the files of it by name, and what was measured."""

    bundle: Bundle
    files: dict[str, bytes]
    facts: TargetFacts
    remarks: tuple[str, ...] = ()


def build(order: Order, progress: Progress = silent) -> Build:
    """Build a recipe for a board and write the folder.

    Raises `BoardError`, `RecipeError`, `ModelError`, `OutputError`, and `BuildRefused` when a gate is missed.
    """
    board = load_board(order.board)
    targets = choose_targets(board, order.targets)
    loaded = load_recipe(order.recipe, order.version)
    _require_edgetpu(order.targets, loaded)
    out = (order.out or Path("builds") / _name(loaded)).absolute()
    check_output(out)
    progress("checking the source model")
    source = load_source(loaded.source, loaded.recipe.source, trusted=order.trust_source)
    targets = for_source(targets, source, loaded.recipe.quantize, order.targets)
    data = _data(loaded, source)
    warnings = () if source.quantized else lint.require(data, loaded.recipe.name)
    past = Past(order.previous, frozen="edgetpu" in board.targets)
    made = _make_all(targets, loaded.recipe, source, data, past, progress)
    tpu = _edgetpu(board, order, loaded.recipe.quantize, made, progress)
    record = _record(order, loaded, source, board, made, warnings)
    for part in made:
        if part.facts.target == "cpu":
            real = None if source.quantized else source.data
            record = with_speeds(record, board, part.facts.form, part.files["model.tflite"], real)
    if tpu is not None:
        record = _with_edgetpu(record, tpu)
    facts = Facts(loaded.recipe, record, board, data.evaluation, source.graph, [part.facts for part in made], tpu)
    report = render(facts)
    if facts.reasons:
        raise BuildRefused(_name(loaded), facts.reasons, report, facts.measured())
    files = {name: content for part in made for name, content in part.files.items()}
    files |= dict(tpu.files) if tpu is not None else {}
    write_folder(out, {**files, FILE: codec.encode(record), REPORT: report.encode()})
    return Build(out, record, report)


def _record(
    order: Order, loaded: LoadedRecipe, source: Source, board: Board, made: Sequence[_Made], warnings: tuple[str, ...]
) -> BuildRecord:
    facts = [part.facts for part in made]
    return BuildRecord(
        schema=1,
        model=loaded.recipe.name,
        version=loaded.version,
        board=board.name,
        bundles=tuple(part.bundle for part in made),
        quality=facts[0].quality,
        provenance=_provenance(order, loaded, source),
        checks=tuple(check for part in facts for check in part.checks),
        changes=source.changes,
        warnings=warnings,
        form=facts[0].form,
        search=tuple(str(step) for part in facts for step in part.steps),
        remarks=(
            *([AS_IT_IS] if source.quantized else []),
            *([NO_LABELS] if source.quantized and facts[0].quality.metric in AGREEMENTS else []),
            *(remark for part in made for remark in part.remarks if remark),
        ),
        not_built=tuple(target for target in board.targets if target not in {part.target for part in facts}),
    )


def _edgetpu(board: Board, order: Order, plan: Quantize, made: Sequence[_Made], progress: Progress) -> EdgeTpu | None:
    if plan.edgetpu_problem and "edgetpu" in board.targets and not order.targets:
        return EdgeTpu(f"no edgetpu bundle: {plan.edgetpu_problem}")
    for part in made:
        if part.bundle.target == "cpu" and not part.facts.reasons:
            return edgetpu_part(board, order.targets, part.bundle, part.files[part.bundle.model.name], progress)
    return None


def _with_edgetpu(record: BuildRecord, tpu: EdgeTpu) -> BuildRecord:
    record = msgspec.structs.replace(record, remarks=(*record.remarks, tpu.remark))
    if tpu.bundle is None:
        return record
    left = tuple(target for target in record.not_built if target != "edgetpu")
    return msgspec.structs.replace(record, bundles=(tpu.bundle, *record.bundles), not_built=left)


def _require_edgetpu(asked: Sequence[str], loaded: LoadedRecipe) -> None:
    problem = loaded.recipe.quantize.edgetpu_problem if "edgetpu" in asked else ""
    if problem:
        hint = "use int8, or build another --target"
        raise RecipeError(f"recipe {loaded.recipe.name}", [problem], hint=hint, code="edgetpu")


def _data(loaded: LoadedRecipe, source: Source) -> DataSet:
    classes = prod(source.graph.output_specs()[0].shape[1:])
    prep = preprocess_for("cpu" if source.waist else "onnx", loaded.recipe.preprocess, source.graph)
    loaded = replace(loaded, recipe=msgspec.structs.replace(loaded.recipe, preprocess=prep))
    return load_data(loaded, source.graph.input_specs()[0], classes)


def _make_all(
    targets: Sequence[TargetName], recipe: Recipe, source: Source, data: DataSet, past: Past, progress: Progress
) -> list[_Made]:
    return [_make(target, recipe, source, data, past, progress) for target in targets]


def _make(target: TargetName, recipe: Recipe, source: Source, data: DataSet, past: Past, progress: Progress) -> _Made:
    start = float_model(target, source)
    prep = preprocess_for(target, recipe.preprocess, describe_any(start))
    recipe = msgspec.structs.replace(recipe, preprocess=prep)
    reference = evaluate(start, data.evaluation, recipe.preprocess, recipe.meaning, progress)
    data = replace(data, evaluation=data.evaluation.judged_by(reference.outputs.values()))
    work = Work(target, recipe, source, data, reference, progress)
    near = keep_near(work, choose(work), past)
    chosen = near.chosen
    model, score = chosen.model, chosen.score
    session = Session(model)
    recorded = golden_samples.record(model, data.evaluation, recipe.preprocess, recipe.golden)
    golden = recorded.golden
    quality = _quality(None if source.quantized else reference, score, source.file_bytes, len(model))
    measured = Measured(session.graph, quality, _golden_problem(model, golden), chosen.plan, source.quantized)
    files = _files(target, model, golden, recipe.labels.names)
    bundle = Bundle(
        target=target,
        artifacts=tuple(Artifact(name, role, blobs.describe(content)) for name, role, content in files),
        inputs=(session.input,),
        outputs=session.outputs,
        task=recipe.task,
        preprocess=recipe.preprocess,
        postprocess=recipe.postprocess,
        golden=recorded.limits,
        probation=recipe.probation,
    )
    verdicts = judge(measured, recipe.budget)
    reasons = [verdict.reason for verdict in verdicts if verdict.reason]
    fit = not recipe.quantize.edgetpu_problem
    accelerated = past.frozen and target == "cpu" and fit  # the board's Edge TPU gets the same integers
    tried = Tried("edgetpu" if accelerated else target, chosen.plan.per_channel, bool(chosen.steps))
    found = [] if source.quantized else _layers(chosen, data, recipe, progress)
    if any(verdict.lost_signal for verdict in verdicts):
        reasons.append(explain(found, recipe.budget.min_sqnr_db, tried))
    progress("measuring latency on this machine")
    facts = TargetFacts(
        target=target,
        graph=session.graph,
        quality=quality,
        checks=tuple(verdict.check for verdict in verdicts),
        reasons=reasons,
        layers=found,
        steps=chosen.steps,
        tried=tried,
        reference=None if source.quantized else reference,
        score=score,
        latency=measure(model),
        float_latency=None if source.quantized else measure(start),
        preflight=preflight_model(model) if accelerated else None,
    )
    return _Made(bundle, {name: content for name, _role, content in files}, facts, (near.remark, recorded.remark))


def _layers(chosen: Chosen, data: DataSet, recipe: Recipe, progress: Progress) -> list[Layer]:
    """The model's layers beside the float one's."""
    reference, quantized = activations_of(chosen.reference), activations_of(chosen.model)
    return layers(reference, quantized, data.evaluation.inputs, recipe.preprocess, progress)


def _quality(reference: Score | None, score: Score, float_bytes: int, int8_bytes: int) -> Quality:
    """Without `reference` there is no float model to compare with."""
    return Quality(
        metric=score.metric,
        samples=score.samples,
        float_value=reference.value if reference else None,
        int8_value=score.value,
        float_interval=reference.interval if reference else None,
        int8_interval=score.interval,
        sqnr_db=sqnr_by_output(reference, score) if reference else {},
        float_bytes=float_bytes if reference else None,
        int8_bytes=int8_bytes,
    )


def _golden_problem(model: bytes, golden: GoldenSet) -> str:
    """Why the recorded outputs prove nothing; empty if a freshly loaded model repeats them to the last bit."""
    again = golden_samples.replay(Session(model), golden)
    result = compare_golden(golden.outputs, again, Golden(max_lsb=0, min_top1=1.0))
    return "" if result.ok and not constant(golden.outputs) else constant(golden.outputs) or result.detail


def _files(target: TargetName, model: bytes, golden: GoldenSet, labels: Sequence[str]) -> list[tuple[str, Role, bytes]]:
    """(name, role, content) of each artifact; those of another target than cpu carry its name."""
    prefix = "" if target == "cpu" else f"{target}-"
    files: list[tuple[str, Role, bytes]] = [
        (f"{prefix}model{SUFFIXES[target]}", "model", model),
        (f"{prefix}golden.npz", "golden", save_golden(golden)),
    ]
    if labels:
        files.append(("labels.txt", "labels", "".join(f"{label}\n" for label in labels).encode()))
    return files


def _provenance(order: Order, loaded: LoadedRecipe, source: Source) -> Provenance:
    data = {"calibration": loaded.calibration, "evaluation": loaded.evaluation}
    return Provenance(
        source_sha256=source.sha256,
        recipe_sha256=loaded.sha256,
        tools=_tools(),
        built_at=order.now.isoformat(timespec="seconds"),
        data_sha256={name: identity(path)[0] for name, path in data.items()},
    )


def _tools() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for tool in TOOLS:
        try:
            versions[tool] = metadata.version(tool)
        except metadata.PackageNotFoundError:  # run from a checkout that is not installed
            versions[tool] = "source"
    return versions


def _name(loaded: LoadedRecipe) -> str:
    return f"{loaded.recipe.name}-{loaded.version}" if loaded.version else loaded.recipe.name
