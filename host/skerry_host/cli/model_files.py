"""`skerry model inspect` and `profile`, for TFLite and ONNX files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from skerry_agent.wire.manifest import TensorSpec
from skerry_host.cli.common import console, emit, emit_json, json_option, micros, safe, size, table
from skerry_host.cli.progress import steps

if TYPE_CHECKING:
    from rich.console import RenderableType

    from skerry_host.builder.modelfile.onnx_file import OnnxFile
    from skerry_host.builder.runtime.probe import Probe
    from skerry_host.builder.runtime.profile.result import Profile
    from skerry_host.builder.runtime.profile.tflite import Unit

file_argument = click.argument("file", type=click.Path(path_type=Path))


@click.command()
@file_argument
@json_option
def inspect(file: Path, as_json: bool) -> None:
    """Show operators and tensors of a TFLite or ONNX FILE. A TFLite file is opened and run once in a child process."""
    _require_own(file)
    if file.suffix.lower() == ".onnx":
        _inspect_onnx(file, as_json)
    else:
        _inspect_tflite(file, as_json)


@click.command()
@file_argument
@click.option(
    "--by",
    type=click.Choice(["kernels", "operators"]),
    default="kernels",
    help="TFLite: time the kernels of the runtime (with XNNPACK), or each operator alone [kernels].",
)
@click.option("--trace", "trace_to", type=click.Path(path_type=Path), help="Write a trace for Chrome or Perfetto.")
@json_option
def profile(file: Path, by: "Unit", trace_to: Path | None, as_json: bool) -> None:
    """Profile one inference of a model FILE. On this machine, with one thread."""
    from skerry_host.builder.recipe.errors import OutputError  # noqa: PLC0415 - keeps `--help` quick
    from skerry_host.builder.runtime.profile.result import trace  # noqa: PLC0415

    _require_own(file)
    with steps(as_json) as progress:
        found = _profile(file, by, progress)
    if trace_to:
        try:
            trace_to.write_text(trace(found, file.name), "utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {trace_to}: {error.strerror}", hint="choose another --trace") from None
    data = {**msgspec.to_builtins(found), "file": str(file), "sum_us": found.sum_us, "measured_on": "this machine"}
    emit(data, as_json, lambda: _profile_table(found))


def _require_own(file: Path) -> None:
    """Say of other tools' files what they are; ONNX is looked at where the runtime for TFLite is not installed, too."""
    if file.suffix.lower() != ".onnx":
        from skerry_host.builder.sources.kinds import kind_of  # noqa: PLC0415 - keeps `--help` quick

        kind_of(file)


def _profile(file: Path, by: "Unit", progress: Any) -> "Profile":
    if file.suffix.lower() == ".onnx":
        from skerry_host.builder.runtime.profile.onnx import profile_onnx  # noqa: PLC0415

        progress("running under the profiler")
        return profile_onnx(file)
    from skerry_host.builder.runtime.probe import probe  # noqa: PLC0415
    from skerry_host.builder.runtime.profile.tflite import profile_file  # noqa: PLC0415

    progress("checking the model")
    probe(file).require_runs(file)
    return profile_file(file, progress, by=by)


def _profile_table(found: "Profile") -> "RenderableType":
    from rich.console import Group  # noqa: PLC0415

    made = table(">#", found.of[:-1], "writes", ">time", ">share", "")
    total = found.sum_us or 1.0
    most = max((op.us or 0.0 for op in found.ops), default=0.0) or 1.0
    for op in found.ops:
        share = (op.us or 0.0) / total
        bar = "█" * round(24 * (op.us or 0.0) / most)
        made.add_row(str(op.index), safe(op.op), safe(op.tensor[-48:]), micros(op.us), f"{share:.1%}", bar)
    words = f"whole model {micros(found.whole_us)}, {found.of} {micros(total)} ({found.method}; {found.runtime})"
    notes = [safe(f"note: {found.note}")] if found.note else []
    return Group(made, *notes, safe(f"{words}; this machine, not the board"))


def _inspect_onnx(file: Path, as_json: bool) -> None:
    from skerry_host.builder.modelfile.onnx_file import read_onnx  # noqa: PLC0415

    found = read_onnx(file)
    if as_json:
        emit_json(
            {
                "file": str(file),
                "bytes": file.stat().st_size,
                "quantized": found.quantized,
                "open_sizes": found.open_sizes,
                **msgspec.to_builtins(found),
            }
        )
        return
    console().print(_onnx_table(found))
    for kind, tensors in (("input", found.inputs), ("output", found.outputs)):
        for tensor in tensors:
            console().print(safe(f"{kind:6}  {tensor.name}: {tensor.dtype} {'x'.join(map(str, tensor.shape))}"))
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in found.opsets.items())
    console().print(f"{size(file.stat().st_size)}, {size(found.parameter_bytes)} of them parameters")
    console().print(safe(f"operators of {opsets}; IR {found.ir_version}; producer {found.producer or 'unknown'}"))
    if found.open_sizes:
        console().print(safe(f"dynamic sizes: {', '.join(found.open_sizes)}; fix them in [source.shapes] of a recipe"))
    if found.external:
        console().print(safe(f"weights in other files: {', '.join(found.external)}"))


def _onnx_table(found: "OnnxFile") -> "RenderableType":
    made = table("operator", ">count")
    for name, count in found.ops.items():
        made.add_row(safe(name), str(count))
    return made


def _inspect_tflite(file: Path, as_json: bool) -> None:
    from skerry_host.builder.runtime.probe import probe  # noqa: PLC0415

    with steps(as_json) as progress:
        progress("opening the model")
        found = probe(file)
    graph = found.graph
    if not graph.custom_ops:  # one with custom operators waits for its accelerator
        found.require_runs(file)
    data = {
        "file": str(file),
        "bytes": file.stat().st_size,
        "parameter_bytes": graph.parameter_bytes,
        "runs": not found.problem,
        "problem": found.problem or None,
        "fully_int8": not graph.float_ops(),
        "inputs": graph.input_specs(),
        "outputs": graph.output_specs(),
        "ops": [{"index": op.index, "op": op.name, "version": op.version} for op in graph.ops],
        "subgraphs": graph.subgraphs,
    }
    if as_json:
        emit_json(data)
        return
    console().print(_operators(found))
    for kind, specs in (("input", graph.input_specs()), ("output", graph.output_specs())):
        for spec in specs:
            console().print(safe(f"{kind:6}  {_tensor_line(spec)}"))
    console().print(f"{size(file.stat().st_size)}, {size(graph.parameter_bytes)} of them parameters")
    console().print(safe(f"does not run here: {found.problem}") if found.problem else "runs here")


def _operators(found: "Probe") -> "RenderableType":
    """Operators by kind: how many, which versions, how many compute on floating point."""
    made = table("operator", ">count", ">version", ">float")
    floating = {op.index for op in found.graph.float_ops()}
    for name in sorted({op.name for op in found.graph.ops}):
        ops = [op for op in found.graph.ops if op.name == name]
        versions = ",".join(map(str, sorted({op.version for op in ops})))
        made.add_row(safe(name), str(len(ops)), versions, str(sum(op.index in floating for op in ops)))
    return made


def _tensor_line(spec: TensorSpec) -> str:
    shape = "x".join(map(str, spec.shape))
    quantized = f"  real = {spec.scale:.6g} * (q - {spec.zero_point})" if spec.scale else ""
    return f"{spec.name}: {spec.dtype} {shape}{quantized}"
