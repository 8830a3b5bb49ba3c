"""Reads the output of `edgetpu_compiler`: each model's result, and why it failed. Pure; trusts no success message.

Several attempts of one run (option -d) follow each other in the log: the last result of a model counts.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

_VERSION = re.compile(r"Edge TPU Compiler version (\S+)")
_SIZE = re.compile(r"\A([\d.]+)\s*(B|KiB|MiB|GiB)\Z")
_ROW = re.compile(r"\A([A-Za-z][\w-]*)\s+(\d+)\s+(\S.*?)\s*\Z")
_BLOCK = re.compile(r"^Input(?: model)?: *", re.MULTILINE)
_TABLE = re.compile(r"^Operator\s+Count\s+Status\s*$", re.MULTILINE)
_FAILURES = (
    ("not_quantized", re.compile(r"Model not quantized")),
    ("unsupported_version", re.compile(r"Didn't find op for builtin opcode '\S+' version '\d+'")),
    ("unparsable", re.compile(r"could not be parsed", re.IGNORECASE)),
    ("dynamic", re.compile(r".*dynamic-sized tensors.*")),
    ("large_activations", re.compile(r"large activation tensors")),
    ("timeout", re.compile(r"Compilation timeout\b.*")),
    ("internal", re.compile(r"Internal compiler error|terminating with uncaught exception.*")),
    ("failed", re.compile(r"(?<=Compilation failed: ).+")),
    ("failed", re.compile(r"Compilation failed")),
)
"""In this order: the compiler names the cause first and then what came of it (a version that it does not know makes a
model that "could not be parsed")."""
_FIELDS = {
    "on_chip_used_bytes": ("On-chip memory used for caching model parameters",),
    "on_chip_free_bytes": (
        "On-chip memory remaining for caching model parameters",
        "On-chip memory available for caching model parameters",
    ),
    "streamed_bytes": ("Off-chip memory used for streaming uncached model parameters",),
}
_COUNTS = {
    "subgraphs": "Number of Edge TPU subgraphs",
    "ops": "Total number of operations",
    "tpu_ops": "Number of operations that will run on Edge TPU",
    "cpu_ops": "Number of operations that will run on CPU",
}


class OpLine(Struct, frozen=True):
    """One line of the operator table."""

    op: str
    count: int
    status: str


class ModelLog(Struct, frozen=True):
    """What the log says of one model; what it does not say is `None`. Sizes are rounded by the compiler."""

    input: str
    output: str
    on_chip_used_bytes: int | None = None
    on_chip_free_bytes: int | None = None
    streamed_bytes: int | None = None
    subgraphs: int | None = None
    ops: int | None = None
    tpu_ops: int | None = None
    cpu_ops: int | None = None
    table: tuple[OpLine, ...] = ()


class CompilerLog(Struct, frozen=True):
    """A whole run. `failure` is the code of what is said to have gone wrong last, "" if nothing is."""

    compiler: str
    models: tuple[ModelLog, ...]
    failure: str
    detail: str

    def of(self, name: str) -> ModelLog | None:
        """What is said last of the output with that file name."""
        return next((model for model in reversed(self.models) if model.output.rpartition("/")[2] == name), None)


def read_log(text: str) -> CompilerLog:
    """Read the output of one run of the compiler, of any version that is known."""
    version = _VERSION.search(text)
    failure, detail = _failure(text)
    return CompilerLog(
        compiler=version[1] if version else "",
        models=tuple(_model(block) for block in _BLOCK.split(text)[1:]),
        failure=failure,
        detail=detail,
    )


def _failure(text: str) -> tuple[str, str]:
    """(code, line) of the last failure; one that a success follows does not count."""
    tail = text[max(0, text.rfind("compiled successfully")) :]
    for code, pattern in _FAILURES:
        found = list(pattern.finditer(tail))
        if found:
            return code, " ".join(found[-1][0].split())
    return "", ""


def _model(block: str) -> ModelLog:
    lines = block.splitlines()
    pairs = dict(_pairs(lines))
    sizes = {field: _bytes(pairs, names) for field, names in _FIELDS.items()}
    counts = {field: _count(pairs, name) for field, name in _COUNTS.items()}
    source = lines[0].strip() if lines else ""
    made = pairs.get("Output model", pairs.get("Output", ""))
    return ModelLog(input=source, output=made, **sizes, **counts, table=tuple(read_table(block)))


def read_table(text: str) -> Iterator[OpLine]:
    """The lines of the operator table, on standard output or in the operation log."""
    start = _TABLE.search(text)
    for line in text[start.end() :].splitlines() if start else []:
        found = _ROW.match(line)
        if found:
            yield OpLine(found[1], int(found[2]), found[3])
        elif line.strip():
            return


def _pairs(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip(), value.strip()


def _bytes(pairs: dict[str, str], names: tuple[str, ...]) -> int | None:
    found = next((m for name in names if (m := _SIZE.match(pairs.get(name, "")))), None)
    return None if found is None else round(float(found[1]) * UNITS[found[2]])


def _count(pairs: dict[str, str], name: str) -> int | None:
    value = pairs.get(name, "")
    return int(value) if value.isdigit() else None
