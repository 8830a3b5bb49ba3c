"""`skerry release`: immutable, signed releases in the home's store."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from skerry_agent.wire.blobs import CHUNK_BYTES
from skerry_agent.wire.manifest import Release
from skerry_agent.wire.schemas import newer_meanings
from skerry_agent.wire.targets import TARGETS
from skerry_host.cli.common import console, emit, emit_json, json_option, safe, size, table, warn
from skerry_host.cli.listing import PAGE, ListOptions, Row, list_options, part
from skerry_host.cli.progress import steps
from skerry_host.home import Home, open_home
from skerry_host.metric_words import in_its_unit
from skerry_host.release.compare import compare, transfers
from skerry_host.release.create import PATCHES_FROM, Encoder, ReleaseRequest, create_release, with_progress
from skerry_host.release.export import export
from skerry_host.release.keys import load
from skerry_host.release.store import Store

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

SMALLEST_CHUNK_BYTES = 1024


@click.group()
def release() -> None:
    """Create, list, compare and export signed releases."""


@release.command()
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--version", metavar="V", help="MAJOR.MINOR.PATCH [the build's].")
@click.option(
    "--patches-from",
    type=click.IntRange(0, 32),
    default=PATCHES_FROM,
    show_default=True,
    help="From how many earlier releases to make patches.",
)
@click.option("--notes", default="", help="Notes for the manifest.")
@click.option(
    "--chunk-bytes",
    type=click.Choice([str(2**power) for power in range(10, 17)]),
    help="Size of the chunks that files are sent in [65536, or what the broker passes on].",
)
@json_option
def create(build: Path, as_json: bool, chunk_bytes: str | None, **request: Any) -> None:
    """Sign a BUILD and add it to the release store."""
    chunk = int(chunk_bytes) if chunk_bytes else chunk_bytes_of(open_home())
    release_build(ReleaseRequest(build, **request, chunk_bytes=chunk), as_json, with_progress)


def chunk_bytes_of(home: Home) -> int:
    """The usual size, or the largest power of two that the broker passes on, as `skerry serve` has found out."""
    try:
        limit = int(home.chunk_limit.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return CHUNK_BYTES
    return min(CHUNK_BYTES, max(SMALLEST_CHUNK_BYTES, 1 << max(0, limit.bit_length() - 1)))


def release_build(request: ReleaseRequest, as_json: bool, encoder: Encoder) -> None:
    """Make the release of `request` with patches by `encoder`; print it, and which patches failed."""
    home = open_home()
    store, signer = Store(home.store), load(home.keys, "release")
    with steps(as_json) as progress:
        made = create_release(request, store, signer, progress, encoder)
    warn(made.warnings)
    if as_json:
        emit_json({"existed": made.existed, **_summary(store, made.release), "warnings": made.warnings})
        return
    console().print(_details(made.release))
    word = "already exists, unchanged" if made.existed else "is in the store"
    console().print(f"release {made.release.name} {word}; next: skerry rollout start {made.release.name} --group GROUP")


@release.command("list")
@list_options("id", "model", "version", "target", example="'model=fashion and target=edgetpu'", sort=("counter",))
@json_option
def list_releases(options: ListOptions, as_json: bool) -> None:
    """List releases, by model and oldest first if nothing else is said."""
    store = Store(open_home().store)
    releases = [store.release(name) for name in store.releases()]
    shown = part(releases, _row, options, options.limit or (sys.maxsize if as_json else PAGE))
    data = [_summary(store, found) for found in shown.items] if as_json else []
    emit(data, as_json, lambda: _table_of(shown.items, releases, shown.more("releases")))


def _row(found: Release) -> Row:
    own = {"id": found.name, "model": found.model, "version": found.version, "counter": found.counter}
    return {**own, "target": tuple(bundle.target for bundle in found.offered)}


@release.command()
@click.argument("name", metavar="RELEASE")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the manifest of RELEASE."""
    store = Store(open_home().store)
    found = store.release(name)
    emit(
        {"name": name, **_summary(store, found), "manifest": msgspec.to_builtins(found)},
        as_json,
        lambda: _details(found),
    )


@release.command()
@click.argument("old", metavar="RELEASE1")
@click.argument("new", metavar="RELEASE2")
@json_option
def diff(old: str, new: str, as_json: bool) -> None:
    """Compare RELEASE1 with RELEASE2. Also shows how many bytes a device downloads from the first to the second."""
    store = Store(open_home().store)
    before, after = store.release(old), store.release(new)
    rows, moves = compare(before, after), transfers(before, after)
    if as_json:
        emit_json({"old": old, "new": new, "differences": rows, "transfers": moves})
        return
    made = table("", safe(old), safe(new))
    for row in rows:
        made.add_row(safe(row.what), safe(row.old), safe(row.new))
    console().print(made if rows else "no differences")
    for move in moves:
        by = "with patches" if move.patched else "without a patch"
        line = (
            f"{move.target}: {size(move.fetched)} to download {by}, {move.fetched / move.full:.1%} of {size(move.full)}"
        )
        console().print(line)


@release.command("export")
@click.argument("name", metavar="RELEASE")
@click.option("--target", required=True, help=f"The target that the devices run: {', '.join(TARGETS)}.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder to write.",
)
@click.option("--only-patches", is_flag=True, help="Leave out the full model, for devices that can patch.")
@click.option("--runtime", default="", metavar="NAME@V", help="A runtime that goes with it [devices keep theirs].")
@json_option
def export_release(name: str, target: str, folder: Path, only_patches: bool, runtime: str, as_json: bool) -> None:
    """Export RELEASE to a folder or USB stick, for `skerry-agent install` on devices without a network."""
    done = export(Store(open_home().store), name, target, folder, only_patches=only_patches, runtime=runtime)
    text = f"{done.release} for {target}: {done.files} files, {size(done.bytes)}; next: skerry-agent install {folder}"
    emit(done, as_json, lambda: text)


def _summary(store: Store, found: Release) -> dict[str, object]:
    manifest = store.manifest_ref(found.name)
    return {
        "release": found.name,
        "counter": found.counter,
        "targets": [bundle.target for bundle in found.offered],
        "samples": found.quality.samples,
        "metric": found.quality.metric,
        "unit": found.quality.unit,
        "better": found.quality.better,
        "float": found.quality.float_value,
        "int8": found.quality.int8_value,
        "float_bytes": found.quality.float_bytes,
        "int8_bytes": found.quality.int8_bytes,
        "patches": [
            {
                "base": patch.base_sha256,
                "new": patch.new_sha256,
                "codec": patch.codec,
                "bytes": patch.blob.size,
                "format_version": patch.format_version,
            }
            for patch in (*found.patches, *found.newer_patches)
        ],
        "manifest_sha256": manifest.sha256,
        "manifest_bytes": manifest.size,
        "built_at": found.provenance.built_at,
    }


def _table_of(shown: Sequence[Release], all_of_them: list[Release], more: list[str]) -> "RenderableType":
    """Each with what a device downloads from the release before it, shown or not."""
    from rich.console import Group  # noqa: PLC0415

    made = table("release", ">counter", "targets", ">float", ">int8", ">size", ">from previous", "built")
    models = {found.name: [each for each in all_of_them if each.model == found.model] for found in shown}
    for found in shown:
        quality = found.quality
        before = max((each for each in models[found.name] if each.counter < found.counter), key=_counter, default=None)
        fetched = sum(way.fetched for way in transfers(before, found)) if before else None
        made.add_row(
            found.name,
            str(found.counter),
            ", ".join(bundle.target for bundle in found.offered),
            "-" if quality.float_value is None else in_its_unit(quality.float_value, quality.unit),
            in_its_unit(quality.int8_value, quality.unit),
            size(quality.int8_bytes),
            "-" if fetched is None else size(fetched),
            safe(found.provenance.built_at[:16]),
        )
    return Group(made, *more)


def _counter(found: Release) -> int:
    return found.counter


def _details(found: Release) -> "Table":
    quality, provenance = found.quality, found.provenance
    made = table("release", safe(found.name))
    scores, sizes = f"int8 {in_its_unit(quality.int8_value, quality.unit)}", f"{size(quality.int8_bytes)} int8"
    if quality.float_value is not None and quality.float_bytes is not None:
        scores = f"float {in_its_unit(quality.float_value, quality.unit)}, {scores}"
        sizes = f"{size(quality.float_bytes)} float, {sizes}"
    rows = {
        "counter": str(found.counter),
        f"{quality.metric} on {quality.samples} samples": scores,
        "size": sizes,
        "SQNR": ", ".join(f"{name} {decibels:.1f} dB" for name, decibels in quality.sqnr_db.items()),
        "source, recipe": f"{provenance.source_sha256[:12]}, {provenance.recipe_sha256[:12]}",
        "tools": ", ".join(f"{tool} {version}" for tool, version in provenance.tools.items()),
        "built": provenance.built_at,
    }
    if found.schema > 1:
        rows["needs"] = (
            f"agents that read schema {found.schema} of manifests: {', '.join(newer_meanings(found.offered))}"
        )
    for bundle in found.offered:
        for artifact in bundle.artifacts:
            rows[f"{bundle.target} {artifact.name}"] = f"{size(artifact.blob.size)}, sha256 {artifact.blob.sha256[:12]}"
    for patch in (*found.patches, *found.newer_patches):
        label = f"patch from {patch.base_sha256[:12]}"
        if patch.format_version > 1:
            label += f" (format {patch.format_version})"
        rows[label] = f"{size(patch.blob.size)} ({patch.codec})"
    if found.notes:
        rows["notes"] = found.notes
    for what, value in rows.items():
        made.add_row(safe(what), safe(value))
    return made
