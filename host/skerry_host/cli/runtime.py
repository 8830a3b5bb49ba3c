"""`skerry runtime`: releases of runtimes, and of the agent: wheelhouses that devices install beside what they run."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from skerry_agent.wire.runtimes import RuntimeManifest
from skerry_host.cli.common import console, emit, json_option, safe, size, table
from skerry_host.cli.release import chunk_bytes_of
from skerry_host.home import open_home
from skerry_host.release.keys import load
from skerry_host.release.runtime_store import RuntimeStore
from skerry_host.release.runtimes import Made, RuntimeRequest, create_runtime
from skerry_host.release.store import Store
from skerry_host.release.wheel_place import Place

if TYPE_CHECKING:
    from rich.table import Table


@click.group()
def runtime() -> None:
    """Create, list and show runtimes: wheelhouses that devices install beside what they run with."""


@runtime.command()
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Its name, for instance litert.")
@click.option("--version", required=True, metavar="V", help="MAJOR.MINOR.PATCH.")
@click.option(
    "--kind",
    type=click.Choice(["runtime", "agent"]),
    default="runtime",
    show_default=True,
    help="What the wheels are: what a model runs with, or the agent itself.",
)
@click.option("--machine", default="", help="For which machine, where no wheel tells: x86_64, aarch64.")
@click.option("--python", default="", help="For which Python, where no wheel tells: cp311.")
@click.option("--notes", default="", help="Notes for the manifest.")
@json_option
def create(folders: tuple[Path, ...], machine: str, python: str, as_json: bool, **request: Any) -> None:
    """Check each FOLDER of wheels, one for each machine and Python, and sign them all as one release.

    A folder holds wheels with all that they need, and a requirements.txt with the hash of each.
    """
    home = open_home()
    asked = RuntimeRequest(folders, **request, place=Place(machine, python), chunk_bytes=chunk_bytes_of(home))
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    made = create_runtime(asked, Store(home.store), load(home.keys, "release"), created)
    emit({"existed": made.existed, **_summary(made.manifest)}, as_json, lambda: _said(made))


def _said(made: Made) -> str:
    name, word = made.manifest.full_name, "already exists, unchanged" if made.existed else "is in the store"
    console().print(_details(made.manifest))
    if made.manifest.kind == "agent":
        return f"agent {name} {word}; next: skerry rollout start {name} --group GROUP"
    return f"runtime {name} {word}; next: skerry rollout start RELEASE --runtime {name} --group GROUP"


@runtime.command("list")
@json_option
def list_runtimes(as_json: bool) -> None:
    """List runtimes and agents, by name and oldest first."""
    store = RuntimeStore(Store(open_home().store))
    found = [store.manifest(name) for name in store.names()]
    emit([_summary(each) for each in found], as_json, lambda: _listed(found))


def _listed(found: Sequence[RuntimeManifest]) -> "Table | str":
    if not found:
        return "no runtimes yet; next: skerry runtime create FOLDER --name litert --version 2.4.0"
    made = table("release", "kind", "for", ">size", "created")
    for each in found:
        tags = ", ".join(house.tag for house in each.wheelhouses)
        biggest = max(house.artifact.size for house in each.wheelhouses)
        made.add_row(each.full_name, each.kind, tags, size(biggest), safe(each.created[:16]))
    return made


@runtime.command()
@click.argument("wanted", metavar="RUNTIME")
@json_option
def show(wanted: str, as_json: bool) -> None:
    """Show the manifest of RUNTIME (name@version)."""
    found = RuntimeStore(Store(open_home().store)).manifest(wanted)
    data = {**_summary(found), "manifest": msgspec.to_builtins(found)}
    emit(data, as_json, lambda: _details(found))


def _summary(found: RuntimeManifest) -> dict[str, object]:
    return {
        "runtime": found.full_name,
        "kind": found.kind,
        "created": found.created,
        "wheelhouses": [
            {
                "machine": house.machine,
                "python": house.python,
                "glibc": house.glibc or None,
                "bytes": house.artifact.size,
                "installed_bytes": house.installed_bytes,
                "distributions": house.distributions,
            }
            for house in found.wheelhouses
        ],
    }


def _details(found: RuntimeManifest) -> "Table":
    made = table(found.kind, safe(found.full_name))
    rows = {"created": found.created}
    for house in found.wheelhouses:
        needs = f", glibc {house.glibc} or newer" if house.glibc else ""
        sizes = f"{size(house.artifact.size)} to download, {size(house.installed_bytes)} installed"
        rows[house.tag] = f"{sizes}{needs}"
        rows[f"{house.tag} holds"] = ", ".join(f"{name} {version}" for name, version in house.distributions.items())
    if found.notes:
        rows["notes"] = found.notes
    for what, value in rows.items():
        made.add_row(safe(what), safe(value))
    return made
