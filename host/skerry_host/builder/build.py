"""The whole build: recipe and source model in, a folder of tested artifacts out, or the reasons why not.

Five stages: prepare, quantize, judge, compile, write. Decides nothing itself: `gates` judges, `targets` makes
artifacts. A target is written only if it passes every gate, and one that fails never stops the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skerry_agent.processing import SampleSequence, load_golden
from skerry_agent.wire import codec
from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.targets import CPU, TargetName
from skerry_host.build_record import FILE, BuildRecord
from skerry_host.builder.data.features import features_of
from skerry_host.builder.data.kept import forget
from skerry_host.builder.diagnose.activations import activations_of
from skerry_host.builder.diagnose.advice import Tried, explain
from skerry_host.builder.diagnose.layer_stats import LayerStats
from skerry_host.builder.diagnose.layers import layers
from skerry_host.builder.diagnose.mixed import mixed_remarks, weakest
from skerry_host.builder.judge import golden as golden_samples
from skerry_host.builder.judge import positives
from skerry_host.builder.judge.channels import whole_outputs
from skerry_host.builder.judge.drift import drift_baseline
from skerry_host.builder.judge.evaluate import one_sided
from skerry_host.builder.judge.gates import coarse, far_above, form, run_gates
from skerry_host.builder.judge.other_outputs import better_output
from skerry_host.builder.judge.paired import PairedEvaluation
from skerry_host.builder.judge.tasks.base import input_size
from skerry_host.builder.judge.tasks.table import AGREEMENTS
from skerry_host.builder.modelfile.describe import describe_any, is_tflite
from skerry_host.builder.modelfile.saturating import saturating
from skerry_host.builder.output import write_folder
from skerry_host.builder.prepare import BuildRequest, Prepared, name_of, prepare
from skerry_host.builder.provenance import provenance
from skerry_host.builder.quantize.search import SearchStep, told
from skerry_host.builder.recipe.errors import BuildRefused, ProblemsError
from skerry_host.builder.recipe.progress import Progress, silent
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.report.boxes import pictures
from skerry_host.builder.report.facts import Facts, TargetFacts
from skerry_host.builder.report.page import NAME as REPORT
from skerry_host.builder.report.page import render
from skerry_host.builder.runtime.latency import measure
from skerry_host.builder.runtime.speed import Timed, with_speeds
from skerry_host.builder.targets.base import Compiled, TargetBuilder, fitted
from skerry_host.builder.targets.bundle import Part, Usual, part_of
from skerry_host.builder.targets.choose import Chosen, Work, choose, float_reference
from skerry_host.builder.targets.delta_friendly import PreviousRelease, make_delta_friendly
from skerry_host.builder.targets.measured import measured_of
from skerry_host.builder.targets.table import compiled_from, compilers
from skerry_host.builder.targets.wider import tried_wider
from skerry_host.failure_log import unexpected

__all__ = ["Build", "BuildRequest", "build"]

AS_IT_IS = "the source is already quantized and used unchanged: there is no float model to compare with"
NO_LABELS = "the evaluation samples have no labels: the accuracy of an already quantized model is unknown"


@dataclass(frozen=True, slots=True)
class Build:
    """A finished build, its folder, and its report (HTML)."""

    path: Path
    record: BuildRecord
    report: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One target's model, what it was made from, and the golden outputs that were recorded of it."""

    work: Work
    chosen: Chosen
    golden: golden_samples.Recorded
    remark: str

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the model's input."""
        return input_size(describe_any(self.chosen.model), self.work.recipe.feeding)

    @property
    def golden_problem(self) -> str:
        """Why its golden outputs are of no use; empty if they are."""
        model, golden = self.chosen.model, self.golden.golden
        shown = positives.problem(golden, describe_any(model), self.work.recipe, self.size)
        return golden_samples.problem(model, golden) or shown


@dataclass(frozen=True, slots=True)
class _Judged:
    """One target's part of the build, and what was measured."""

    part: Part
    facts: TargetFacts
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Failed:
    """A target of which there is no model to judge, and why."""

    target: TargetName
    error: SkerryError


def build(request: BuildRequest, progress: Progress = silent) -> Build:
    """Build a recipe for a board and write the folder: of every target that passes, where another one fails, too.

    Raises `BoardError`, `RecipeError`, `ModelError`, `OutputError`, several of them as `ProblemsError`, and
    `BuildRefused` when no target passes its gates.
    """
    ready = prepare(request, progress)
    try:
        outcomes = [_attempt(ready, builder) for builder in ready.builders]
    finally:
        forget(ready.data)
    passed = [one for one in outcomes if isinstance(one, _Judged) and not one.facts.reasons]
    compiled = _compile(ready, passed)
    return _write(ready, outcomes, compiled)


def tried_by(plan: Quantize, steps: Sequence[SearchStep], last: TargetBuilder) -> Tried:
    """What need not be advised: what the recipe says was tried, even if a search has then found another better."""
    return Tried(last.last_resort, plan.per_channel, bool(steps) or not last.searched)


def _attempt(ready: Prepared, builder: TargetBuilder) -> _Judged | _Failed:
    """One target's model, judged, or why there is none: the others are built all the same."""
    name = builder.target.name
    try:
        return _judge(ready, _quantize(ready, builder))
    except SkerryError as error:
        return _Failed(name, error)
    except Exception as error:  # noqa: BLE001 - of the tools of this target, whatever they raise
        return _Failed(name, unexpected(error, f"building target {name}"))


def _quantize(ready: Prepared, builder: TargetBuilder) -> _Candidate:
    """Make the target's model as asked, or search for it, and record what it answers."""
    start, recipe, data = builder.float_model(ready.source), ready.loaded.recipe, ready.data
    recipe = fitted(recipe, describe_any(start), builder)
    evaluation = PairedEvaluation(start, data.evaluation, recipe, ready.progress)
    source = replace(ready.source, whole=whole_outputs(recipe.meaning))
    only = ready.compiler(builder) is not None
    work = Work(builder, recipe, source, data, evaluation, ready.progress, _weakest, integers_only=only)
    frozen = compiled_from(ready.board, builder.target.name) is not None
    friendly = make_delta_friendly(work, choose(work), PreviousRelease(ready.request.previous, frozen=frozen))
    raw = ready.request.previous_golden
    earlier = None if raw is None else load_golden(raw)
    model, size = friendly.chosen.model, input_size(describe_any(friendly.chosen.model), recipe.feeding)
    samples = positives.by_answer(model, data.evaluation, recipe, size, friendly.chosen.compared)
    golden = golden_samples.record(model, samples, recipe.feeding, recipe.golden, earlier)
    return _Candidate(work, friendly.chosen, golden, friendly.remark)


def _judge(ready: Prepared, candidate: _Candidate) -> _Judged:
    """Run the gates; where quantization is to blame, say in which layers and what to try."""
    work, chosen = candidate.work, candidate.chosen
    recipe, quantized = work.recipe, work.source.quantized
    made = measured_of(work, chosen.model, chosen.plan, chosen.compared)
    measured = replace(made, golden_problem=candidate.golden_problem)
    results = run_gates(measured, recipe.budget)
    reasons = [result.reason for result in results if result.reason]
    if any(result.at_chance for result in results):
        reasons += filter(None, [_other_output(ready, candidate)])
    compiler = ready.compiler(work.builder)
    last = compiler or work.builder
    tried = tried_by(recipe.quantize, chosen.steps, last)
    found = [] if quantized else _layers(work, chosen)
    if any(result.lost_signal for result in results):
        wider = "" if compiler else tried_wider(work, chosen.plan)
        tried = replace(tried, found=wider, cause=_features(work))
        reasons.append(explain(found, recipe.budget.least_sqnr_db, tried))
    if reasons:
        reasons += told(chosen.steps)
    work.progress("measuring latency on this machine")
    facts = TargetFacts(
        target=work.builder.target.name,
        form=form(measured),
        graph=measured.graph,
        quality=measured.quality,
        checks=tuple(result.check for result in results),
        reasons=reasons,
        layers=found,
        steps=chosen.steps,
        tried=tried,
        reference=None if quantized else chosen.compared.reference,
        score=chosen.compared.score,
        sampling=chosen.compared.sampling,
        latency=measure(chosen.model),
        float_latency=None if quantized else measure(work.builder.float_model(work.source)),
        preflight=compiler.predict(chosen.model) if compiler else None,
        pictures=() if quantized else pictures(chosen.compared, work.data.evaluation, recipe, measured.graph),
    )
    part = part_of(work.builder.target, chosen.model, candidate.golden, recipe, _usual(candidate))
    covered = positives.remark(candidate.golden.golden, work.data.evaluation, measured.graph, recipe)
    mixed = [] if quantized else mixed_remarks(chosen.model, chosen.plan, chosen.uniform, chosen.reference)
    said = one_sided(None if quantized else chosen.compared.reference)
    warned = (far_above(measured.quality), coarse(measured, recipe.budget), said)
    remarks = (candidate.remark, candidate.golden.remark, covered, *warned, *mixed)
    return _Judged(part, facts, remarks)


def _other_output(ready: Prepared, candidate: _Candidate) -> str:
    """Which output the recipe should have named, where the one that it names only guesses."""
    work = candidate.work
    model = candidate.chosen.model if work.source.quantized else work.builder.float_model(work.source)
    loaded = replace(ready.loaded, recipe=work.recipe)
    return better_output(model, work.data.evaluation, loaded)


def _usual(candidate: _Candidate) -> Usual:
    """What the model's answers and inputs are like over the evaluation samples."""
    work, outputs = candidate.work, [*candidate.chosen.compared.score.outputs.values()]
    return Usual(
        positives.baseline(outputs, work.recipe, candidate.size),
        drift_baseline(outputs, work.data.evaluation, work.recipe, candidate.size),
    )


def _features(work: Work) -> str:
    """Whether features of different ranges are to blame."""
    tensors = describe_any(work.builder.float_model(work.source)).input_specs()
    found = features_of(work.data.calibration, work.recipe.feeding, tensors)
    return "; ".join(problem for name, one in found.items() if (problem := one.problem(name)))


def _compile(ready: Prepared, parts: Sequence[_Judged]) -> Compiled | None:
    """What the board's accelerator gets of the models that passed; None where it has none, or others were asked for."""
    for compiler in compilers(ready.board, ready.request.targets):
        problem = compiler.plan_problem(ready.plan)
        if problem:
            return Compiled(f"no {compiler.target.name} bundle: {problem}{_mapping_end(compiler, parts)}")
        for judged in parts:
            if judged.facts.target == compiler.target.fallback and not judged.facts.reasons:
                return compiler.compile(ready.board, judged.part.bundle, judged.part.model, ready.progress)
    return None


def _mapping_end(compiler: TargetBuilder, parts: Sequence[_Judged]) -> str:
    """Where the accelerator's part of a model would end that has layers which it cannot run."""
    for judged in parts:
        found = compiler.predict(judged.part.model) if judged.facts.target == compiler.target.fallback else None
        if found is not None and found.causes:
            first = found.causes[0]
            share = f"{found.mapped} of {len(found.all)} operators would map"
            return f"; its part would end at {first.op} ({first.output.partition(';')[0]}): {share}"
    return ""


def _write(ready: Prepared, outcomes: Sequence[_Judged | _Failed], compiled: Compiled | None) -> Build:
    """Write the folder of what passed; raises `BuildRefused` with every reason when nothing did."""
    judged = [one for one in outcomes if isinstance(one, _Judged)]
    failed = [one for one in outcomes if isinstance(one, _Failed)]
    if not judged:
        raise failed[0].error if len(failed) == 1 else ProblemsError([one.error for one in failed])
    passed = [one for one in judged if not one.facts.reasons]
    lost = _lost(ready, judged, failed)
    shown = passed or judged
    record = _record(ready, shown, compiled, lost)
    targets = [one.facts for one in shown]
    facts = Facts(ready.loaded.recipe, record, ready.board, ready.source.graph, targets, compiled)
    report = render(facts)
    if not passed:
        reasons = [*facts.reasons, *(f"{one.target}: {one.error}" for one in failed)]
        raise BuildRefused(name_of(ready.loaded), reasons, report, facts.measured(), facts.search)
    files = {name: content for one in passed for name, content in one.part.files.items()}
    files |= dict(compiled.files) if compiled is not None else {}
    write_folder(ready.out, {**files, FILE: codec.encode(record), REPORT: report.encode()})
    return Build(ready.out, record, report)


def _lost(ready: Prepared, judged: Sequence[_Judged], failed: Sequence[_Failed]) -> dict[TargetName, str]:
    """Why each target that was to be built is not."""
    refused = {one.facts.target: "; ".join(one.facts.reasons) for one in judged if one.facts.reasons}
    return {**ready.lost, **refused, **{one.target: str(one.error) for one in failed}}


def _weakest(work: Work, model: bytes, plan: Quantize) -> list[str]:
    """The layers of a model that lose most, by calibration samples: what is chosen by them is judged on others."""
    found = _layers_of(work, float_reference(work, plan), model, work.data.calibration.inputs)
    return weakest([(layer.tensor, layer.sqnr_db, layer.fall_db) for layer in found])


def _layers(work: Work, chosen: Chosen) -> list[LayerStats]:
    """The model's layers beside the float one's."""
    return _layers_of(work, chosen.reference, chosen.model, work.data.evaluation.inputs)


def _layers_of(work: Work, reference: bytes, model: bytes, samples: SampleSequence) -> list[LayerStats]:
    seen = saturating(describe_any(reference), work.source.through_sigmoid) if is_tflite(reference) else ()
    both = activations_of(reference, seen), activations_of(model, seen)
    return layers(*both, samples, work.recipe.feeding, work.progress)


def _record(
    ready: Prepared, parts: Sequence[_Judged], compiled: Compiled | None, lost: Mapping[TargetName, str]
) -> BuildRecord:
    facts, quantized = [judged.facts for judged in parts], ready.source.quantized
    bundles = tuple(judged.part.bundle for judged in parts)
    if compiled is not None and compiled.bundle is not None:
        bundles = (compiled.bundle, *bundles)
    record = BuildRecord(
        schema=1,
        model=ready.loaded.recipe.name,
        version=ready.loaded.version,
        board=ready.board.name,
        bundles=bundles,
        quality=facts[0].quality,
        provenance=provenance(ready.request.now, ready.loaded, ready.source, ready.data.sha256),
        checks=tuple(check for part in facts for check in part.checks),
        changes=ready.source.changes,
        warnings=ready.warnings,
        form=facts[0].form,
        sampling=facts[0].sampling,
        search=tuple(str(step) for part in facts for step in part.steps),
        remarks=(
            *ready.data.notes,
            *([AS_IT_IS] if quantized else []),
            *([NO_LABELS] if quantized and facts[0].quality.metric in AGREEMENTS else []),
            *(remark for judged in parts for remark in judged.remarks if remark),
            *([compiled.remark] if compiled is not None else []),
        ),
        lost=dict(lost),
        not_built=tuple(target for target in ready.board.targets if target not in {b.target for b in bundles}),
    )
    return _with_speeds(record, ready, parts)


def _with_speeds(record: BuildRecord, ready: Prepared, parts: Sequence[_Judged]) -> BuildRecord:
    for judged in parts:
        if judged.facts.target == CPU.name:
            real = judged.facts.float_latency
            models = [Timed(judged.facts.form, judged.part.model, judged.facts.latency)]
            models += [] if real is None else [Timed("float", ready.source.data, real)]
            record = with_speeds(record, ready.board, models)
    return record
