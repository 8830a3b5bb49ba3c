"""`skerry demo`: the whole workflow on this machine, with the same commands and processes that a fleet uses."""

import json
import signal
import sys
import tempfile
from pathlib import Path

import click

from skerry_host.cli.common import console
from skerry_host.cli.demo.fleet import DemoError
from skerry_host.cli.demo.steps import Demo, run_demo

PACKAGE = Path(__file__).resolve().parents[2]
PLACES = (PACKAGE / "models/fashion", PACKAGE.parents[1] / "models/fashion")
"""The recipe in an installed package, and in a checkout."""


@click.command()
@click.option("--json-file", type=click.Path(dir_okay=False, path_type=Path), help="Also write the result as JSON.")
@click.option("--stay", is_flag=True, help="Keep everything running at the end, until Ctrl-C, to look at the web page.")
@click.option(
    "--recipe",
    type=click.Path(file_okay=False, path_type=Path),
    default=next((place for place in PLACES if place.is_dir()), PLACES[-1]),
    help="A recipe with versions 1.0.0, 1.1.0 and 1.2.0 [that of fashion, which comes with Skerry].",
)
def demo(json_file: Path | None, stay: bool, recipe: Path) -> None:
    """Build, release and roll out a model to three local agents, update it by patch, see a bad release rolled back."""
    if not (recipe / "recipe.toml").exists():
        raise DemoError(f"{recipe} holds no recipe.toml", hint="name another with --recipe")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what it started ends with it
    out = console()
    with tempfile.TemporaryDirectory(prefix="skerry-demo-") as folder:
        outcome = run_demo(Demo(Path(folder), recipe.resolve(), out, stay))
    if json_file is not None:
        json_file.write_text(json.dumps(outcome.as_json(), indent=2) + "\n", encoding="utf-8")
        out.print(f"written: {json_file}")
    if not outcome.ok:
        raise DemoError("the demo did not give the expected result", hint="the table above shows where")
