"""`skerry delta`: creates, applies and measures patches between two files. Releases and devices do so by themselves."""

import mmap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skerry_agent.patch import apply
from skerry_agent.wire.blobs import check_size
from skerry_host.cli.common import console, emit, emit_json, json_option, safe, size, table, warn
from skerry_host.cli.progress import shares

if TYPE_CHECKING:
    from rich.table import Table

    from skerry_host.patch import Patch
    from skerry_host.patch.bench import Bench

MAX_ARTIFACT_BYTES = 1 << 31

existing = click.Path(exists=True, dir_okay=False, path_type=Path)
output = click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True)


@click.group()
def delta() -> None:
    """Create, apply and measure patches (delta updates)."""


@delta.command("create")
@click.argument("old", type=existing)
@click.argument("new", type=existing)
@output
@json_option
def create_patch(old: Path, new: Path, output: Path, as_json: bool) -> None:
    """Create the smallest patch from OLD to NEW."""
    from skerry_host.patch import create  # noqa: PLC0415 - keeps `--help` quick

    for path in (old, new):
        check_size(str(path), path.stat().st_size)
    with shares(as_json) as progress:

        def make(before: bytes, after: bytes) -> "Patch":
            return create(before, after, progress=progress)

        write_patch((old, new, output), as_json, make)


def write_patch(paths: tuple[Path, Path, Path], as_json: bool, make: "Callable[[bytes, bytes], Patch]") -> None:
    """Write the patch that `make` makes of (old, new) to the third path; report size and failed candidates."""
    old, new, output = paths
    patch = make(old.read_bytes(), new.read_bytes())
    output.write_bytes(patch.data)
    full = new.stat().st_size
    warnings = [str(failure) for failure in patch.failed]
    warn(warnings)
    if as_json:
        found = {"bytes": len(patch.data), "full_bytes": full, "codec": patch.codec, "seconds": round(patch.seconds, 3)}
        emit_json({**found, "candidates": patch.candidates, "warnings": warnings})
        return
    share = f"{100 * len(patch.data) / max(1, full):.2f} % of {size(full)}"
    console().print(f"{safe(str(output))}: {size(len(patch.data))}, {share}, codec {patch.codec}", soft_wrap=True)


@delta.command("apply")
@click.argument("old", type=existing)
@click.argument("patch", type=existing)
@output
@json_option
def apply_patch(old: Path, patch: Path, output: Path, as_json: bool) -> None:
    """Apply PATCH to OLD with the device's decoder."""
    part = output.with_name(output.name + ".part")
    try:
        with part.open("wb") as out:
            header = apply(_mapped(old), memoryview(_mapped(patch)), out.write, max_new_bytes=MAX_ARTIFACT_BYTES)
    except BaseException:  # also a full disk, and Ctrl-C
        part.unlink(missing_ok=True)
        raise
    part.replace(output)
    if as_json:
        emit_json({"bytes": header.new_size, "sha256": header.new_sha256, "codec": header.codec})
        return
    console().print(f"{safe(str(output))}: {size(header.new_size)}, sha256 {header.new_sha256}", soft_wrap=True)


@delta.command("bench")
@click.argument("old", type=existing)
@click.argument("new", type=existing)
@json_option
def bench_pair(old: Path, new: Path, as_json: bool) -> None:
    """Compare patch sizes with generic tools. Measures every tool that is installed, from OLD to NEW."""
    from skerry_host.patch.bench import bench  # noqa: PLC0415 - keeps `--help` quick

    with console().status("measuring") as _:
        found = bench(old, new)
    warn(found.warnings)
    emit(found.as_json(), as_json, lambda: _rows(found))
    if not as_json and found.absent:
        console().print(f"not installed: {', '.join(found.absent)}")


def _mapped(path: Path) -> mmap.mmap | bytes:
    # An empty file cannot be mapped.
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""


def _rows(found: "Bench") -> "Table":
    rows = table("tool", ">patch", ">of full", ">create", ">apply", ">extra memory")
    for name, row in sorted(found.tools.items(), key=lambda item: item[1].bytes):
        label = f"{name} ({found.codec})" if name == "skerry" else name
        times = (f"{row.create_seconds:.2f} s", f"{1000 * row.apply_seconds:.1f} ms")
        rows.add_row(label, f"{row.bytes:,}", f"{row.percent:.2f} %", *times, size(row.extra_bytes))
    if found.limit_bytes is not None:
        rows.add_row("empirical limit", f"{found.limit_bytes:,}", f"{100 * found.limit_bytes / found.full_bytes:.2f} %")
    return rows
