"""`skerry edgetpu`: predicts what maps to the Edge TPU, runs the user's compiler, inspects compiled files."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from skerry_host.boards import NEWEST_EDGETPU_RUNTIME, load_board
from skerry_host.cli.common import console, emit_json, json_option, safe, size, table
from skerry_host.cli.progress import steps

if TYPE_CHECKING:
    from rich.table import Table

    from skerry_host.builder.edgetpu.compile import Compilation, CompiledModel
    from skerry_host.builder.edgetpu.executable import ExecutableLayer
    from skerry_host.builder.edgetpu.inspect import Inspection
    from skerry_host.builder.edgetpu.preflight import Preflight

Function = Callable[..., Any]


def runtime_options(*names: str) -> Callable[[Function], Function]:
    """`--board`, or `--runtime` under these names, for the driver that the file must run on."""
    text = "Runtime version of the oldest Edge TPU driver in the fleet [the board's, else the newest]."
    runtime = click.option(*names, "--runtime", type=click.IntRange(1, 99), help=text)
    board = click.option("--board", metavar="B", help="Take the runtime version of this board's driver.")
    return lambda command: board(runtime(command))


def _runtime(board: str | None, runtime: int | None) -> int:
    """The runtime version: the one given, else the board's, else the newest. Raises `BoardError`."""
    offered = load_board(board).edgetpu_runtime() if board else NEWEST_EDGETPU_RUNTIME
    return runtime or offered


class _Heights(click.ParamType[range]):
    """A range of heights in pixels: `96..640`, `96..640:16`, or one."""

    name = "sizes"
    step = 32
    most = 200

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        """The heights; ends the command with what is wrong."""
        found = re.fullmatch(r"(\d{1,5})(?:\.\.(\d{1,5})(?::(\d{1,4}))?)?", str(value))
        first, last, step = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
        heights = range(first, (last or first) + 1, step or self.step)
        if not first or not heights:
            self.fail(f"{value!r} is not A..B or A..B:STEP in pixels, such as 96..640", param, ctx)
        if len(heights) > self.most:
            self.fail(
                f"{value!r} has {len(heights)} sizes, at most {self.most} are tried: give a larger STEP", param, ctx
            )
        return heights


@click.group()
def edgetpu() -> None:
    """Check, compile and inspect models for the Edge TPU."""


@edgetpu.command()
@click.argument("file", type=click.Path(path_type=Path))
@runtime_options()
@click.option("--svg", type=click.Path(path_type=Path), help="Write a drawing of the graph here.")
@click.option(
    "--sizes",
    type=_Heights(),
    metavar="A..B[:STEP]",
    help="Predict for images from A to B pixels high, every 32 or STEP pixels.",
)
@json_option
def preflight(
    file: Path, runtime: int | None, board: str | None, svg: Path | None, sizes: range | None, as_json: bool
) -> None:
    """Predict which operators will map to the Edge TPU. FILE is an int8 TFLite model; the prediction may be wrong."""
    from skerry_host.builder.edgetpu.preflight import preflight_file  # noqa: PLC0415 - keeps `--help` quick

    if sizes is not None:
        _preflight_sizes(file, sizes, _runtime(board, runtime), as_json)
        return
    if svg is not None:
        _require_place(svg)
    found = preflight_file(file, _runtime(board, runtime))
    if svg is not None:
        _draw(found, file.name, svg)
    if as_json:
        emit_json({"file": str(file), **_prediction(found), "svg": str(svg) if svg else None})
        return
    if found.unmapped:
        console().print(_unmapped(found))
    for line in (found.refusal, *found.notes):
        if line:
            console().print(safe(f"note: {line}"), soft_wrap=True)
    console().print(f"predicted: {found.mapped} of {len(found.all)} operators map to the Edge TPU")
    if svg is not None:
        console().print(f"picture: {safe(str(svg))}")


@edgetpu.command()
@click.argument("file", type=click.Path(path_type=Path))
@runtime_options()
@json_option
def inspect(file: Path, runtime: int | None, board: str | None, as_json: bool) -> None:
    """Show what a compiled FILE contains. It is opened in a child process."""
    from skerry_host.builder.edgetpu.inspect import inspect_file  # noqa: PLC0415

    found = inspect_file(file)
    warnings = found.warnings(_runtime(board, runtime))
    if as_json:
        emit_json({"file": str(file), **msgspec.to_builtins(found), "warnings": warnings})
        return
    console().print(_facts(found))
    if found.custom_ops:
        console().print(_layers(found))
    for line in warnings:
        console().print(safe(f"warning: {line}"), soft_wrap=True)


@edgetpu.command(name="compile")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=Path(), help="The folder for outputs and log [.]."
)
@runtime_options("-m")
@click.option(
    "-n", "--segments", type=click.IntRange(1, 16), default=1, help="Split the model over this number of Edge TPUs."
)
@click.option(
    "-t",
    "--timeout",
    type=click.FloatRange(1),
    default=180.0,
    show_default=True,
    help="Seconds for one run of the compiler.",
)
@click.option("-d", "--search", is_flag=True, help="Search for a part of the model that compiles right away.")
@click.option(
    "--compiler",
    metavar="PROGRAM",
    help="The edgetpu_compiler, or image:NAME [$SKERRY_EDGETPU_COMPILER, else in PATH].",
)
@json_option
def compile_command(files: tuple[Path, ...], out: Path, compiler: str | None, as_json: bool, **options: Any) -> None:
    """Compile int8 TFLite FILES with your edgetpu_compiler. Several are co-compiled, to share the chip's memory."""
    from skerry_host.builder.edgetpu.compile import CompileRequest, compile_models  # noqa: PLC0415

    runtime = _runtime(options["board"], options["runtime"])
    order = CompileRequest(files, out, runtime, options["segments"], options["timeout"], search=options["search"])
    with steps(as_json) as progress:
        progress(f"compiling {', '.join(file.name for file in files)}")
        done = compile_models(order, compiler)
    if as_json:
        emit_json(_compilation(done))
        return
    for model in done.models:
        console().print(_outputs(model))
        console().print(safe(_agreement(model)), soft_wrap=True)
        for line in (line for file in model.files for line in file.warnings):
            console().print(safe(f"warning: {line}"), soft_wrap=True)
    how = ", after a search for a part that compiles" if done.searched else ""
    console().print(safe(f"compiled by {done.compiler} {done.version}{how}; log: {done.log}"), soft_wrap=True)


def _require_place(path: Path) -> None:
    """The drawing's folder must exist; raises `click.BadParameter`."""
    if path.is_dir() or not path.parent.is_dir():
        what = f"{path} is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise click.BadParameter(f"{what}; name a file in an existing folder", param_hint="--svg")


def _draw(found: "Preflight", title: str, path: Path) -> None:
    from skerry_host.builder.edgetpu.picture import picture  # noqa: PLC0415
    from skerry_host.files import write_atomic  # noqa: PLC0415

    write_atomic(path, picture(found, title).encode())


def _preflight_sizes(file: Path, heights: range, runtime: int, as_json: bool) -> None:
    from skerry_host.builder.edgetpu.sizes import preflight_sizes_file  # noqa: PLC0415 - as above

    with steps(as_json) as progress:
        progress(f"trying {len(heights)} sizes of the input")
        found = preflight_sizes_file(file, heights, runtime)
    if found.problem:
        raise click.BadParameter(f"sizes of {file} cannot be tried: {found.problem}", param_hint="--sizes")
    best = found.largest
    if as_json:
        largest = [best.height, best.width] if best else None
        emit_json({"file": str(file), **msgspec.to_builtins(found), "largest": largest})
        return
    made = table("image", ">maps", ">unknown", ">cpu", ">largest activation", "first that is not certain to map")
    for at in found.at:
        counts = (
            ("", "", "", "") if at.problem else (str(at.mapped), str(at.unknown), str(at.cpu), size(at.largest_bytes))
        )
        made.add_row(
            f"{at.height}x{at.width}", *counts, safe(f"no such model: {at.problem}" if at.problem else at.cause)
        )
    console().print(made)
    for reason in dict.fromkeys(at.reason for at in found.at if at.reason):
        console().print(safe(f"note: {reason}"), soft_wrap=True)
    if any(at.largest_bytes > found.largest_mapped_bytes for at in found.at):
        known = size(found.largest_mapped_bytes)
        console().print(f"note: the largest activation seen to map has {known}: the compiler may fail on larger ones")
    upto = f"all of it maps up to {best.height}x{best.width}" if best else "at none of these sizes all of it maps"
    console().print(f"predicted: {upto}; the file is made for {found.height}x{found.width}")


def _prediction(found: "Preflight") -> dict[str, Any]:
    """As JSON: `cpu` lists every operator that is not certain to map, with its verdict."""
    keys = ("index", "op", "status", "cause", "verdict", "reason", "evidence")
    return {
        "predicted": found.predicted,
        "ops": len(found.all),
        "mapped": found.mapped,
        "cpu": [{key: getattr(item, key) for key in keys} for item in found.unmapped],
        "unknown": [item.index for item in found.all if item.verdict == "unknown"],
        "verdicts": [item.verdict for item in found.all],
        "refusal": found.refusal or None,
        "notes": found.notes,
    }


def _unmapped(found: "Preflight") -> "Table":
    made = table(">", "operator", "verdict", "status", ">cause", "why")
    for item in found.unmapped:
        cause = "" if item.cause == item.index else str(item.cause)
        made.add_row(str(item.index), safe(item.op), item.verdict, safe(item.status), cause, safe(item.reason))
    return made


def _facts(found: "Inspection") -> "Table":
    absent = "-"
    segment = f"{found.segment.index + 1} of {found.segment.count} (by file name)" if found.segment else absent
    cpu = ", ".join(found.cpu_ops) or "none"
    facts = [
        ("Edge TPU operators", str(found.custom_ops)),
        ("operators on the CPU", f"{len(found.cpu_ops)}: {cpu}" if found.cpu_ops else "none"),
        ("lowest runtime", str(found.min_runtime or absent)),
        ("parameters cached on chip", f"at least {size(found.cached_param_bytes)}"),
        ("parameters streamed", size(found.streamed_param_bytes)),
        ("executables", found.exec_types or absent),
        ("memory of a tile", size(found.narrow_memory_bytes_per_tile or 0) if found.custom_ops else absent),
        ("estimated cycles", str(found.estimated_cycles or absent)),
        ("co-compile token", ", ".join(found.tokens) or absent),
        ("pipeline segment", segment),
    ]
    made = table("", "")
    for name, value in facts:
        made.add_row(name, safe(value))
    return made


def _layers(found: "Inspection") -> "Table":
    made = table("", "layer", ">height", ">width", ">depth", "type", ">scale", ">zero point")
    for kind, layer in found.layers():
        made.add_row(kind, safe(layer.name), *_layer(layer))
    return made


def _layer(layer: "ExecutableLayer") -> tuple[str, ...]:
    sizes = (str(layer.y), str(layer.x), str(layer.z))
    return (*sizes, layer.dtype, f"{layer.scale:.6g}", str(layer.zero_point))


def _compilation(done: "Compilation") -> dict[str, Any]:
    head = {key: getattr(done, key) for key in ("compiler", "version", "attempts", "searched", "log")}
    return {**head, "models": [_model(model) for model in done.models]}


def _model(model: "CompiledModel") -> dict[str, Any]:
    """As JSON; what was predicted is apart from what was found."""
    files = [
        {
            "path": file.path,
            **msgspec.to_builtins(file.inspection),
            "warnings": file.warnings,
            "log": msgspec.to_builtins(file.log),
        }
        for file in model.files
    ]
    agreement = {"equal": model.comparison.equal, **msgspec.to_builtins(model.comparison)}
    return {"source": model.source, "files": files, "preflight": _prediction(model.predicted), "agreement": agreement}


def _outputs(model: "CompiledModel") -> "Table":
    made = table("output", ">Edge TPU ops", ">CPU ops", ">cached", ">streamed", ">runtime")
    for file in model.files:
        found = file.inspection
        sizes = (size(found.cached_param_bytes), size(found.streamed_param_bytes))
        made.add_row(safe(file.path), str(found.custom_ops), str(len(found.cpu_ops)), *sizes, str(found.min_runtime))
    return made


def _agreement(model: "CompiledModel") -> str:
    found = model.comparison
    if found.equal:
        return f"{model.source}: as predicted, operator by operator"
    mapped, left = (", ".join(map(str, indices)) or "none" for indices in (found.mapped_after_all, found.left_on_cpu))
    return f"{model.source}: not as predicted; mapped after all: {mapped}; left on the CPU: {left}"
