"""`skerry model`: builds int8 artifacts from a recipe and evaluates models. Its other commands have files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.targets import TARGETS
from skerry_host.cli.common import console, emit, emit_json, json_option, safe, size, table, warn
from skerry_host.cli.model_check import check
from skerry_host.cli.model_files import inspect, profile
from skerry_host.cli.model_init import model_init
from skerry_host.cli.previous import previous_release
from skerry_host.cli.progress import steps
from skerry_host.metric_words import in_its_unit

if TYPE_CHECKING:
    from rich.table import Table

    from skerry_host.build_record import BuildRecord
    from skerry_host.builder.judge.evaluate import Score


@contextmanager
def report_on_refusal(path: Path | None) -> Iterator[None]:
    """Write the report of a refused build to `path`, say in the refusal where it is, and pass it on."""
    from skerry_host.builder.recipe.errors import BuildRefused  # noqa: PLC0415

    try:
        yield
    except BuildRefused as refused:
        _keep(path, refused.report)
        if path is not None:
            refused.reported(str(path))
        raise


def _check_report(path: Path | None) -> None:
    """Refuse a report path that cannot be written, before the work begins."""
    from skerry_host.builder.output import require_folder  # noqa: PLC0415
    from skerry_host.builder.recipe.errors import OutputError  # noqa: PLC0415

    if path is None:
        return
    require_folder(path, "--report")
    if path.is_dir() or not path.absolute().parent.is_dir():
        reason = "it is a folder" if path.is_dir() else "its folder does not exist"
        raise OutputError(f"cannot write the report {path}: {reason}", hint="choose another --report")


def _keep(path: Path | None, page: str) -> None:
    from skerry_host.builder.recipe.errors import OutputError  # noqa: PLC0415

    if path is None:
        return
    try:
        path.write_text(page, "utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the report {path}: {error.strerror}", hint="choose another --report") from None


@click.group()
def model() -> None:
    """Quantize, evaluate, inspect and profile models."""


@model.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--board", required=True, help="The board to build for; `skerry device boards` lists them.")
@click.option("--version", metavar="V", help="The version of the source to build [the newest].")
@click.option(
    "--target",
    "targets",
    multiple=True,
    help=f"Build only this target ({', '.join(TARGETS)}); may be given several times.",
)
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write [builds/MODEL-VERSION].")
@click.option(
    "--report", type=click.Path(path_type=Path), help="Also write the HTML report here, even if a gate fails."
)
@click.option(
    "--previous", metavar="R", help="Keep scales close to this release, so that patches are small [the model's newest]."
)
@click.option("--trust-source", is_flag=True, help="Allow a source that contains code to run it.")
@json_option
def build(  # noqa: PLR0913, PLR0917  (click passes one for each option)
    recipe: Path,
    board: str,
    version: str | None,
    targets: tuple[str, ...],
    out: Path | None,
    report: Path | None,
    previous: str | None,
    trust_source: bool,
    as_json: bool,
) -> None:
    """Quantize the model of RECIPE for a board. A target is written only if it passes every gate."""
    _check_report(report)
    with steps(as_json) as progress, report_on_refusal(report):
        from skerry_host.builder.build import BuildRequest  # noqa: PLC0415 - keeps `--help` quick
        from skerry_host.builder.build import build as run_build  # noqa: PLC0415

        before = previous_release(recipe, previous)
        order = BuildRequest(
            recipe, board, datetime.now(UTC), version, out, targets, trust_source, before.model, before.golden
        )
        done = run_build(order, progress)
        _keep(report, done.report)
    record = done.record
    failed = [f"{name}: {why}" for name, why in record.lost.items() if name in targets]
    if as_json:
        facts = {"path": str(done.path), **msgspec.to_builtins(record)}
        emit_json({**facts, "error": _asked_for(failed).facts()} if failed else facts)
    else:
        _show(done.path, record)
        warn([f"asked for, but not built: {line}" for line in failed])
    click.get_current_context().exit(1 if failed else 0)


def _asked_for(failed: Sequence[str]) -> SkerryError:
    """What to say of targets that were asked for, when others were built."""
    return SkerryError(f"not built: {'; '.join(failed)}", hint="the other targets were built", code="target")


def _show(path: Path, record: "BuildRecord") -> None:
    from skerry_host.builder.report.page import NAME as REPORT  # noqa: PLC0415
    from skerry_host.builder.runtime.speed import remark  # noqa: PLC0415
    from skerry_host.cli.next_step import to_release  # noqa: PLC0415

    console().print(safe(_headline(record)), soft_wrap=True)
    console().print(_verdict(record))
    notes = {"source": record.changes, "warning": record.warnings, "search": record.search, "note": record.remarks}
    notes["speed"] = tuple(filter(None, [remark(record.speeds_on_this_machine)]))
    for kind, text in ((kind, text) for kind, texts in notes.items() for text in texts):
        console().print(f"{kind}: {safe(text)}", soft_wrap=True)
    for name in record.not_built:
        why = f": {record.lost[name]}" if name in record.lost else ""
        console().print(safe(f"not built for {record.board}: {name}{why}"), soft_wrap=True)
    console().print(f"report: {safe(str(path / REPORT))}", soft_wrap=True)
    console().print(f"built {safe(str(path))}; next: {safe(to_release(path, record))}", soft_wrap=True)


@model.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--trust-source", is_flag=True, help="Allow a model that contains code to run it.")
@json_option
def evaluate(file: Path, recipe: Path, trust_source: bool, as_json: bool) -> None:
    """Evaluate a model FILE (float or int8, of every kind that can be built) on the data of RECIPE."""
    with steps(as_json) as progress:
        from skerry_host.builder.check import check_model  # noqa: PLC0415

        score = check_model(file, recipe, progress, trusted=trust_source)
    data = {
        "file": str(file),
        "metric": score.metric,
        "samples": score.samples,
        "value": score.value,
        "better": score.better,
        "unit": score.unit,
        "interval": score.interval,
        "figures": {one.name: one.int8_value for one in score.figures},
    }
    emit(data, as_json, lambda: _score_line(file, score))


model.add_command(check)
model.add_command(inspect)
model.add_command(profile)
model.add_command(model_init)


def _verdict(record: "BuildRecord") -> "Table":
    made = table("gate", ">measured", ">limit", "")
    for one in record.checks:
        made.add_row(one.name, one.value, one.limit, "passed" if one.ok else "failed")
    return made


def _headline(record: "BuildRecord") -> str:
    quality = record.quality
    sizes, made = size(quality.int8_bytes), in_its_unit(quality.int8_value, quality.unit)
    scores = f"quantized already, {quality.metric} {made}"
    if quality.float_value is not None and quality.float_bytes is not None:
        sizes = f"{size(quality.float_bytes)} float, {size(quality.int8_bytes)} {record.form}"
        before = in_its_unit(quality.float_value, quality.unit)
        scores = f"{quality.metric} {before} float, {made} {record.form}"
    name = f"{record.model} {record.version or ''}".strip()
    samples = record.sampling or f"{quality.samples} held-out samples"
    return f"{name} for {record.board}: {sizes}; {scores} on {samples}"


def _score_line(file: Path, score: "Score") -> str:
    low, high = (in_its_unit(end, score.unit, 1) for end in score.interval)
    value = in_its_unit(score.value, score.unit)
    return safe(f"{file}: {score.metric} {value} (95 % interval {low} to {high}) on {score.samples} samples")
