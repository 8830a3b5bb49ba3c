"""`skerry model check`: all that is wrong with a recipe, its model and its data, in one round. Builds nothing."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skerry_agent.wire.targets import TARGETS
from skerry_host.cli.common import console, emit_json, json_option, safe
from skerry_host.cli.progress import steps

if TYPE_CHECKING:
    from skerry_host.builder.prepare import Prepared
    from skerry_host.builder.recipe.problems import Problems

BOARD = "generic-x86"
"""It runs all targets that are made of a source: stands for any board."""


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--board", default=BOARD, show_default=True, help="The board to check for.")
@click.option("--version", metavar="V", help="The version of the source to check [the newest].")
@click.option("--target", "targets", multiple=True, help=f"Check for this target only ({', '.join(TARGETS)}).")
@click.option("--trust-source", is_flag=True, help="Allow a source that contains code to run it.")
@json_option
def check(
    recipe: Path, board: str, version: str | None, targets: tuple[str, ...], trust_source: bool, as_json: bool
) -> None:
    """Name all problems of RECIPE in one round, without building: recipe, files, model, data, targets, converters."""
    with steps(as_json) as progress:
        from skerry_host.builder.prepare import BuildRequest, look  # noqa: PLC0415 - keeps `--help` quick
        from skerry_host.builder.recipe.problems import Problems  # noqa: PLC0415

        problems = Problems()
        request = BuildRequest(recipe, board, datetime.now(UTC), version, None, targets, trust_source)
        found = look(request, problems, progress)
    facts = _facts(problems, found)
    if as_json:
        emit_json(facts)
    else:
        _show(facts)
    click.get_current_context().exit(1 if problems else 0)


def _facts(problems: "Problems", found: "Prepared | None") -> dict[str, object]:
    """What was found, for a machine: each problem on its own, and `error` as every failure has it."""
    from skerry_host.builder.recipe.errors import ProblemsError  # noqa: PLC0415

    facts: dict[str, object] = {
        "ok": not problems,
        "problems": [part.facts() for part in problems.each],
        "warnings": list(found.warnings) if found else [],
        "source": list(found.source.changes) if found else [],
        "targets": [builder.target.name for builder in found.builders] if found else [],
        "not_built": dict(found.lost) if found else {},
    }
    return {**facts, "error": ProblemsError(problems.each).facts()} if problems else facts


def _show(facts: dict[str, object]) -> None:
    problems, warnings, targets, lost = (facts[key] for key in ("problems", "warnings", "targets", "not_built"))
    assert isinstance(problems, list)
    assert isinstance(warnings, list)
    assert isinstance(targets, list)
    assert isinstance(lost, dict)
    for part in problems:
        text = f"{part['message']}; {part['hint']}" if part["hint"] else part["message"]
        console().print(f"problem: {safe(text)}", soft_wrap=True)
    for text in warnings:
        console().print(f"warning: {safe(text)}", soft_wrap=True)
    for name, why in lost.items():
        console().print(f"note: target {name} would not be built: {safe(why)}", soft_wrap=True)
    count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
    console().print(count if problems else f"nothing found that forbids a build; targets: {', '.join(targets)}")
