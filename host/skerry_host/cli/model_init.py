"""`skerry model init`: writes the recipe of a model and data that somebody has. Builds nothing."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from skerry_host.cli.common import console, emit_json, json_option, safe, warn
from skerry_host.cli.progress import steps

if TYPE_CHECKING:
    from skerry_host.builder.init.propose import Proposal

BOARD, VERSION = "raspberry-pi-4", "1.0.0"
"""What the next command is shown with: any other board and version will do."""


@click.command("init")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help="A folder or file with samples.")
@click.option("--task", metavar="T", help="What the outputs mean, such as detection [as data and model say].")
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write [the model's name].")
@click.option("--trust-source", is_flag=True, help="Allow a source that contains code to run it.")
@json_option
def model_init(file: Path, data: Path, task: str | None, out: Path | None, trust_source: bool, as_json: bool) -> None:
    """Write a recipe for the model FILE that builds, each guess marked with its reason."""
    with steps(as_json) as progress:
        from skerry_host.builder.init.propose import InitRequest, propose  # noqa: PLC0415 - keeps `--help` quick

        made = propose(InitRequest(file, data, task, out, trust_source), progress)
    if as_json:
        emit_json({**msgspec.to_builtins(made, enc_hook=str), "folder": str(made.folder)})
        return
    _print(made)


def _print(made: "Proposal") -> None:
    for line in made.text.splitlines():
        console().print(safe(line), soft_wrap=True)
    for kind, texts in {"note": made.notes, "tried": made.tried, "question": made.questions}.items():
        for text in texts:
            console().print(safe(f"{kind}: {text}"), soft_wrap=True)
    if made.questions:
        warn([f"open questions, which {made.folder / 'recipe.toml'} marks: {len(made.questions)}"])
    folder = _shown(made.folder)
    command = ["skerry", "model", "build", str(folder), "--board", BOARD, "--version", made.version or VERSION]
    last = f"wrote {folder}; `skerry device boards` lists other boards; next: {shlex.join(command)}"
    console().print(safe(last), soft_wrap=True)


def _shown(folder: Path) -> Path:
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
