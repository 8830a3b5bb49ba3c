"""Reads the payload of an `edgetpu-custom-op`: a FlexBuffer map that holds a FlatBuffer package of executables.

Field numbers: the public schema executable/executable.fbs of google-coral/libedgetpu, identifier DWN1. Runs nothing and
verifies no signature.
"""

import struct
from typing import Any

from flatbuffers import flexbuffers
from msgspec import Struct

from skerry_host.builder.edgetpu.flatbuffer import DamagedError, Table, root

IDENTIFIER = b"DWN1"
PACKAGE_KEY, CHIPS_KEY = "4", "6"
"""The keys of the package and of the chip ids in the FlexBuffer; "1" is a version, "5" an execution preference."""

KINDS = ("STAND_ALONE", "PARAMETER_CACHING", "EXECUTION_ONLY")
CACHING = "PARAMETER_CACHING"
DTYPES = {
    0: "uint8",
    1: "uint16",
    2: "int32",
    3: "bfloat16",
    4: "float16",
    5: "float32",
    8: "int8",
    9: "int16",
}

_SIGNED = {"int8": 1 << 7, "int16": 1 << 15}

_PACKAGE = {"min_runtime": 0, "executables": 1, "compiler": 4, "virtual_chip": 5, "multi_chip": 6, "identifier": 7}
_EXECUTABLE = {
    "name": 1,
    "batch": 3,
    "scratch": 4,
    "instructions": 5,
    "parameters": 6,
    "inputs": 8,
    "outputs": 9,
    "chip": 10,
    "cycles_old": 11,
    "narrow": 12,
    "kind": 13,
    "token": 14,
    "cycles": 16,
}
_LAYER = {"name": 0, "bytes": 1, "y": 2, "x": 3, "z": 4, "numerics": 5, "dtype": 6, "executions": 9}


class ExecutableLayer(Struct, frozen=True):
    """One input or output of an executable: height y, width x, depth z; real = scale * (q - zero_point).

    The file stores zero points as if every type were unsigned: `stored_zero_point`.
    """

    name: str
    dtype: str
    y: int
    x: int
    z: int
    scale: float
    zero_point: int
    stored_zero_point: int
    padded_bytes: int
    executions: int


class Executable(Struct, frozen=True):
    """One program of a package. `estimated_cycles` is `None` where the compiler gave no estimate."""

    kind: str
    name: str
    batch: int
    parameter_bytes: int
    instruction_bytes: int
    scratch_bytes: int
    narrow_memory_bytes_per_tile: int
    token: int
    estimated_cycles: int | None
    chip: str
    inputs: tuple[ExecutableLayer, ...]
    outputs: tuple[ExecutableLayer, ...]


class Package(Struct, frozen=True):
    """What one custom op holds."""

    min_runtime: int
    compiler: str
    identifier: str
    virtual_chip: int
    multi_chip: int
    chip_ids: tuple[int, ...]
    executables: tuple[Executable, ...]

    def parameter_bytes(self, *, cached: bool) -> int:
        """Bytes of parameters that are cached on the chip, or streamed to it with every inference."""
        return sum(e.parameter_bytes for e in self.executables if (e.kind == CACHING) == cached)


def read_package(options: bytes) -> Package:
    """The package in the `custom_options` of an operator; raises `DamagedError`."""
    fields = _flex_map(options)
    if PACKAGE_KEY not in fields:
        raise DamagedError("its Edge TPU operator holds no package")
    package = root(fields[PACKAGE_KEY], IDENTIFIER)
    programs = root(package.octets(_PACKAGE["executables"]))
    return Package(
        min_runtime=package.integer(_PACKAGE["min_runtime"]),
        compiler=package.text(_PACKAGE["compiler"]),
        identifier=package.text(_PACKAGE["identifier"]),
        virtual_chip=package.integer(_PACKAGE["virtual_chip"]),
        multi_chip=len(package.tables(_PACKAGE["multi_chip"])),
        chip_ids=fields.get(CHIPS_KEY, ()),
        executables=tuple(_executable(root(data)) for data in programs.octets_list(0)),
    )


def _flex_map(options: bytes) -> dict[str, Any]:
    """The package and the chip ids; the library checks no bounds, so whatever it trips over is damage."""
    found: dict[str, Any] = {}
    try:
        entries = flexbuffers.GetRoot(options).AsMap
        keys = {entry.AsKey for entry in entries.Keys}
        if PACKAGE_KEY in keys:
            value = entries[PACKAGE_KEY]
            found[PACKAGE_KEY] = bytes(value.AsBlob if value.IsBlob else value.AsStringBytes)
        if CHIPS_KEY in keys:
            found[CHIPS_KEY] = tuple(map(int, entries[CHIPS_KEY].Value))
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, struct.error, RecursionError):
        raise DamagedError("the options of its Edge TPU operator are damaged") from None
    return found


def _executable(table: Table) -> Executable:
    kind = table.integer(_EXECUTABLE["kind"], "h")
    if not 0 <= kind < len(KINDS):
        raise DamagedError(f"an executable is of the unknown kind {kind}")
    cycles = table.integer(_EXECUTABLE["cycles"], "q") or table.integer(_EXECUTABLE["cycles_old"])
    return Executable(
        kind=KINDS[kind],
        name=table.text(_EXECUTABLE["name"]),
        batch=table.integer(_EXECUTABLE["batch"]),
        parameter_bytes=len(table.octets(_EXECUTABLE["parameters"])),
        instruction_bytes=sum(len(chunk.octets(0)) for chunk in table.tables(_EXECUTABLE["instructions"])),
        scratch_bytes=table.integer(_EXECUTABLE["scratch"]),
        narrow_memory_bytes_per_tile=table.integer(_EXECUTABLE["narrow"]),
        token=table.integer(_EXECUTABLE["token"], "Q"),
        estimated_cycles=cycles or None,
        chip=table.text(_EXECUTABLE["chip"]),
        inputs=tuple(_layer(layer) for layer in table.tables(_EXECUTABLE["inputs"])),
        outputs=tuple(_layer(layer) for layer in table.tables(_EXECUTABLE["outputs"])),
    )


def _layer(table: Table) -> ExecutableLayer:
    numerics = table.table(_LAYER["numerics"])
    dtype = DTYPES.get(code := table.integer(_LAYER["dtype"], "h"), f"type_{code}")
    zero = numerics.integer(0) if numerics else 0
    return ExecutableLayer(
        name=table.text(_LAYER["name"]),
        dtype=dtype,
        y=table.integer(_LAYER["y"]),
        x=table.integer(_LAYER["x"]),
        z=table.integer(_LAYER["z"]),
        scale=numerics.real(1) if numerics else 0.0,
        zero_point=zero - _SIGNED.get(dtype, 0),
        stored_zero_point=zero,
        padded_bytes=table.integer(_LAYER["bytes"]),
        executions=table.integer(_LAYER["executions"], default=1),
    )
