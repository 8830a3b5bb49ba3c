"""Inspects a compiled file. Needs no compiler, no driver and no Edge TPU; says nothing of accuracy.

`inspect_file` reads a file that is not trusted, in a child process; `inspect_model` reads bytes that are.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from skerry_agent.wire.manifest import TensorSpec
from skerry_host.boards import NEWEST_EDGETPU_RUNTIME
from skerry_host.builder.edgetpu.executable import ExecutableLayer, Package, read_package
from skerry_host.builder.edgetpu.sandbox import ask
from skerry_host.builder.modelfile.graph import describe
from skerry_host.builder.modelfile.tflite import read_model

CUSTOM_OP = "edgetpu-custom-op"
OLDEST_RUNTIME = 10
"""A driver warns about files that need an older runtime."""

_SEGMENT = re.compile(r"_segment_(\d+)_of_(\d+)(?=_|\.|\Z)")


class Segment(Struct, frozen=True):
    """The place of a file in a pipeline over several Edge TPUs, 0 the first; it stands in the file's name only."""

    index: int
    count: int


class CompiledOp(Struct, frozen=True):
    """One Edge TPU operator: its index in the graph, and what it holds."""

    index: int
    package: Package


class Inspection(Struct, frozen=True):
    """What a file says of itself. Where there is no Edge TPU operator, what only it could say is `None`.

    `cached_param_bytes` is a lower bound of what the compiler's log calls on-chip memory used. `token` (hexadecimal) is
    equal across co-compiled files; `tokens` lists those of every operator. `cpu_outputs` names for each CPU operator
    its first output tensor, by which it is found in the source model.
    """

    bytes: int
    custom_ops: int
    cpu_ops: tuple[str, ...]
    cpu_outputs: tuple[str, ...]
    min_runtime: int | None
    cached_param_bytes: int
    streamed_param_bytes: int
    exec_types: str
    token: str | None
    tokens: tuple[str, ...]
    narrow_memory_bytes_per_tile: int | None
    estimated_cycles: int | None
    segment: Segment | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ops: tuple[CompiledOp, ...]

    def layers(self) -> Iterator[tuple[str, ExecutableLayer]]:
        """("in" or "out", layer) of every operator."""
        for op in self.ops:
            for program in op.package.executables:
                yield from (("in", layer) for layer in program.inputs)
                yield from (("out", layer) for layer in program.outputs)

    def warnings(self, runtime: int = NEWEST_EDGETPU_RUNTIME) -> list[str]:
        """What a person should know before this file goes to a device with that `runtime`; empty if all is well."""
        return [line for check in _CHECKS if (line := check(self, runtime))]


def inspect_file(path: Path) -> Inspection:
    """Inspect a file in a child process; raises `ModelError` when it is not TFLite, or damaged."""
    return ask("inspect", path, Inspection)


def inspect_model(data: bytes, name: str = "") -> Inspection:
    """Inspect trusted bytes; the pipeline segment is read from `name`. Raises `DamagedError`."""
    model = read_model(data)
    graph = describe(model)
    options = model.subgraphs[0].operators or []
    cpu = [op for op in graph.ops if op.name != CUSTOM_OP]
    compiled = [op.index for op in graph.ops if op.name == CUSTOM_OP]
    ops = tuple(CompiledOp(index, read_package(_bytes(options[index].customOptions))) for index in compiled)
    packages = [op.package for op in ops]
    programs = [program for package in packages for program in package.executables]
    tokens = tuple(dict.fromkeys(f"{program.token:x}" for program in programs if program.token))
    cycles = [program.estimated_cycles for program in programs if program.estimated_cycles is not None]
    return Inspection(
        bytes=len(data),
        custom_ops=len(ops),
        cpu_ops=tuple(op.name for op in cpu),
        cpu_outputs=tuple("".join(graph.tensors[i].name for i in op.outputs[:1]) for op in cpu),
        min_runtime=max((package.min_runtime for package in packages), default=None),
        cached_param_bytes=sum(package.parameter_bytes(cached=True) for package in packages),
        streamed_param_bytes=sum(package.parameter_bytes(cached=False) for package in packages),
        exec_types="+".join(sorted({program.kind for program in programs})),
        token=tokens[0] if tokens else None,
        tokens=tokens,
        narrow_memory_bytes_per_tile=max((p.narrow_memory_bytes_per_tile for p in programs), default=None),
        estimated_cycles=sum(cycles) if cycles else None,
        segment=_segment(name),
        inputs=graph.input_specs(),
        outputs=graph.output_specs(),
        ops=ops,
    )


def inspect_to_json(path: Path) -> bytes:
    """What the child process does."""
    return msgspec.json.encode(inspect_model(path.read_bytes(), path.name))


def _bytes(options: Any) -> bytes:
    return b"" if options is None else bytes(options)


def _segment(name: str) -> Segment | None:
    found = _SEGMENT.search(name)
    return Segment(int(found[1]), int(found[2])) if found else None


def _no_ops(found: Inspection, _runtime: int) -> str:
    line = "no Edge TPU operator: nothing of this file runs on the accelerator; compile it, or run preflight"
    return "" if found.custom_ops else line


def _several_ops(found: Inspection, _runtime: int) -> str:
    line = f"{found.custom_ops} Edge TPU operators: data crosses between CPU and Edge TPU several times per inference"
    return line if found.custom_ops > 1 else ""


def _streamed(found: Inspection, _runtime: int) -> str:
    count = found.streamed_param_bytes
    return (
        f"{count} bytes of parameters are streamed with every inference: they are not cached on chip" if count else ""
    )


def _runtime_too_new(found: Inspection, runtime: int) -> str:
    need = found.min_runtime or 0
    line = f"it needs runtime {need}, the board has {runtime}: its driver will refuse it; compile with -m {runtime}"
    return line if need > runtime else ""


def _runtime_too_old(found: Inspection, _runtime: int) -> str:
    need = found.min_runtime
    line = f"it was compiled for runtime {need}: drivers warn below {OLDEST_RUNTIME}; compile it again"
    return line if need is not None and need < OLDEST_RUNTIME else ""


_CHECKS = (_no_ops, _several_ops, _streamed, _runtime_too_new, _runtime_too_old)
