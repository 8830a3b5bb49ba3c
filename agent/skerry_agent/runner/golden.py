"""Golden inputs and outputs on the device: read from a bundle's file and compared without numpy.

Comparison and limits are those of `skerry_agent.processing.golden`, with which the host recorded them; a test holds the
two equal. A file that is not as the host writes it is read there, or refused in its words. Runs no model.
"""

import math
import re
import struct
import zipfile
from collections.abc import Sequence
from operator import sub
from pathlib import Path

from msgspec import Struct

from skerry_agent.runner.errors import GoldenError
from skerry_agent.runner.tensor import FORMATS, Tensor, argmax, is_finite
from skerry_agent.wire.manifest import Golden, TensorSpec

MAX_BYTES = 512 * 1024 * 1024
FLOAT_STEPS = 255
_FAR = 2**31 - 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MAGIC = b"\x93NUMPY\x01\x00"
_SIZE = r"(?:0|[1-9]\d*)"
_HEADER = re.compile(
    rf"\{{'descr': '([|<][biuf]\d)', 'fortran_order': False, 'shape': \(((?:{_SIZE}, ?)*{_SIZE}?,?)\), \}} *\n".encode()
)
_DESCRIBED = {"|b1": "bool", "|u1": "uint8", "|i1": "int8"} | {
    f"<{dtype[0]}{struct.calcsize(code)}": dtype for dtype, code in FORMATS.items() if struct.calcsize(code) > 1
}


class Column(Struct, frozen=True, eq=False):
    """One tensor of every sample: its dtype, its shape in each, and its bytes in each."""

    dtype: str
    shape: tuple[int, ...]
    rows: tuple[memoryview, ...]

    def tensor(self, index: int) -> Tensor:
        """That of one sample."""
        return Tensor(self.dtype, self.shape, self.rows[index])


class GoldenSamples(Struct, frozen=True, eq=False):
    """Inputs and the outputs recorded for them."""

    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...]

    def __len__(self) -> int:
        return len(self.inputs[0].rows)

    def sample(self, index: int, tensors: Sequence[TensorSpec]) -> list[Tensor]:
        """Inputs of one sample in the shapes that the model takes; raises `GoldenError` if they do not fit."""
        here = [(column.dtype, math.prod(column.shape)) for column in self.inputs]
        wanted = [(tensor.dtype, math.prod(tensor.shape)) for tensor in tensors]
        if here != wanted:
            raise GoldenError(f"golden inputs are {here}, the model takes {wanted}")
        pairs = zip(self.inputs, tensors, strict=True)
        return [Tensor(column.dtype, spec.shape, column.rows[index]) for column, spec in pairs]


class Comparison(Struct, frozen=True):
    """Largest difference in quantized steps, share of samples whose top-1 agrees, the verdict, one line for people."""

    samples: int
    max_lsb: int
    top1: float
    ok: bool
    detail: str


def load_golden(path: str) -> GoldenSamples:
    """Read a golden file. Raises `GoldenError` if it is damaged or its arrays do not match, `OSError`."""
    try:
        columns = _read(path)
        golden = GoldenSamples(_numbered(columns, "input"), _numbered(columns, "output"))
        lengths = {len(column.rows) for column in (*golden.inputs, *golden.outputs)}
        if golden.outputs and len(lengths) == 1 and 0 not in lengths:
            return golden
    except Exception:  # noqa: BLE001, S110 - zipfile raises what its parts raise; numpy's reader says what is wrong
        pass
    return _read_as_the_host(path)


def compare_golden(golden: GoldenSamples, got: Sequence[Sequence[Tensor]], spec: Golden) -> Comparison:
    """Compare the outputs of each sample with the recorded ones. Top-1 is of the first output; equal maxima agree."""
    for row in got:
        found, recorded = [(t.dtype, t.size) for t in row], [(c.dtype, math.prod(c.shape)) for c in golden.outputs]
        if found != recorded:
            detail = f"outputs are {found}, recorded were {recorded}"
            return Comparison(len(golden), _FAR, 0.0, ok=False, detail=detail)
    steps = [_steps(column, [row[i] for row in got]) for i, column in enumerate(golden.outputs)]
    worst = max(map(max, steps))
    output = next(i for i, column in enumerate(steps) if worst in column)
    sample = steps[output].index(worst)
    top1 = sum(_agree(golden.outputs[0].tensor(i), row[0]) for i, row in enumerate(got)) / len(golden)
    detail = (
        f"largest difference {worst} steps (limit {spec.max_lsb}) in output {output} of sample {sample}; "
        f"top-1 agrees on {top1:.1%} of {len(golden)} samples (limit {spec.min_top1:.1%})"
    )
    ok = worst <= spec.max_lsb and top1 >= spec.min_top1
    return Comparison(len(golden), worst, top1, ok=ok, detail=detail)


def float_steps(golden: GoldenSamples) -> tuple[float, ...]:
    """The size of a step of each output: of its recorded range for floats, else 1."""
    return tuple(_step(c.dtype, [c.tensor(i) for i in range(len(golden))]) for c in golden.outputs)


def reproduces(golden: GoldenSamples, index: int, got: Sequence[Tensor], spec: Golden, steps: Sequence[float]) -> bool:
    """Whether the outputs of one sample are the recorded ones within the limits; `steps` are from `float_steps`.

    Top-1 must be the same where it must be in all samples.
    """
    pairs = [(column.tensor(index), tensor) for column, tensor in zip(golden.outputs, got, strict=True)]
    for (expected, tensor), step in zip(pairs, steps, strict=True):
        if expected.data == tensor.data and is_finite(expected):
            continue
        apart = _float_steps(expected, tensor, step) if tensor.is_float else _apart(expected, tensor)
        if apart > spec.max_lsb:
            return False
    return spec.min_top1 < 1 or not pairs or _agree(golden.outputs[0].tensor(index), got[0])


def constant(rows: Sequence[Sequence[Tensor]]) -> str | None:
    """Why the outputs of these samples are suspect: each is the same for all of them. None if they are not."""
    if len(rows) < 2 or not rows[0]:
        return None
    if all(_same(row[i], rows[0][i]) for row in rows[1:] for i in range(len(rows[0]))):
        return f"every output is the same for all {len(rows)} golden inputs"
    return None


def _read(path: str) -> dict[str, Column]:
    """The arrays of a file that is as the host writes it; anything else raises one of many exceptions."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > MAX_BYTES:
            raise ValueError("too large")
        if any(member.compress_type not in _METHODS for member in members):
            raise ValueError("compressed in another way")
        return {member.filename.removesuffix(".npy"): _column(_content(archive, member)) for member in members}


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """No more than it says: `ZipFile.read` unpacks all that is there before it looks at that."""
    with archive.open(member) as file:
        content = file.read(member.file_size)
    if len(content) != member.file_size:
        raise ValueError("cut off")
    return content


def _column(raw: bytes) -> Column:
    length = int.from_bytes(raw[8:10], "little")
    header = _HEADER.fullmatch(raw, 10, 10 + length)
    if not raw.startswith(_MAGIC) or header is None:
        raise ValueError("not as the host writes it")
    dtype = _DESCRIBED[header[1].decode()]
    samples, *shape = (int(n) for n in header[2].replace(b" ", b"").split(b",") if n)
    data = memoryview(raw)[10 + length :]
    size = math.prod(shape) * struct.calcsize(FORMATS[dtype])
    if samples * size != len(data):
        raise ValueError("another size than it says")
    return Column(dtype, tuple(shape), tuple(data[i * size : (i + 1) * size] for i in range(samples)))


def _numbered(columns: dict[str, Column], kind: str) -> tuple[Column, ...]:
    number = next(i for i in range(len(columns) + 1) if f"{kind}_{i}" not in columns)
    return tuple(columns[f"{kind}_{i}"] for i in range(number))


def _read_as_the_host(path: str) -> GoldenSamples:
    from skerry_agent.processing import ProcessingError, golden  # noqa: PLC0415 - imports numpy

    try:
        found = golden.load_golden(Path(path).read_bytes())
    except ProcessingError as error:
        raise GoldenError(str(error)) from None
    columns = [
        Column(array.dtype.name, array.shape[1:], tuple(memoryview(row.tobytes()) for row in array))
        for array in (*found.inputs, *found.outputs)
    ]
    return GoldenSamples(tuple(columns[: len(found.inputs)]), tuple(columns[len(found.inputs) :]))


def _steps(expected: Column, got: Sequence[Tensor]) -> list[int]:
    """The largest difference in each sample, in whole steps; equal bytes need no look at their elements."""
    pairs = [(expected.tensor(i), tensor) for i, tensor in enumerate(got)]
    if not got[0].is_float:
        return [0 if e.data == g.data else _apart(e, g) for e, g in pairs]
    if all(e.data == g.data and is_finite(e) for e, g in pairs):
        return [0] * len(pairs)
    step = _step(expected.dtype, [e for e, _ in pairs])
    return [_float_steps(e, g, step) for e, g in pairs]


def _step(dtype: str, recorded: Sequence[Tensor]) -> float:
    """Of a float output the 255th part of its recorded range, of any other 1."""
    if not recorded or not recorded[0].is_float:
        return 1.0
    return _range([value for tensor in recorded for value in tensor.values()], dtype) / FLOAT_STEPS or 1.0


def _apart(expected: Tensor, got: Tensor) -> int:
    return max(map(abs, map(sub, expected.values(), got.values())), default=0)


def _float_steps(expected: Tensor, got: Tensor, step: float) -> int:
    apart = [abs(difference) / step for difference in map(sub, expected.values(), got.values())]
    return max((round(min(n, _FAR)) if n == n else _FAR for n in apart), default=0)  # noqa: PLR0124 - not a NaN


def _range(values: Sequence[float], dtype: str) -> float:
    """Largest less smallest, rounded to the dtype."""
    if not values:
        return 0.0
    if math.isnan(sum(values)) and any(map(math.isnan, values)):
        return math.nan
    try:
        return float(struct.unpack(FORMATS[dtype], struct.pack(FORMATS[dtype], max(values) - min(values)))[0])
    except OverflowError:
        return math.inf


def _agree(expected: Tensor, got: Tensor) -> bool:
    if not expected.size:
        return True
    if expected.data == got.data and not expected.is_float:
        return True
    one, other = expected.values(), got.values()
    here, there = argmax(expected), argmax(got)
    return bool(one[there] == one[here] or other[here] == other[there])


def _same(one: Tensor, other: Tensor) -> bool:
    return one.data == other.data or (one.is_float and one.values() == other.values())
