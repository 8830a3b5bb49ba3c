"""What the tensors that clients send mean, and how they become the model's: docs/applications.md, "What to send".

A tensor holds samples (before the recipe's preprocessing), real values of the model's input (after it), or the model's
own integers (raw). Knows no JSON and no socket.
"""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Literal, get_args

from msgspec import Struct

from skerry_agent.runner.http.messages import RequestError
from skerry_agent.runner.http.tensors import DATATYPES, DTYPES
from skerry_agent.runner.real_values import is_plain, prepared, real_spec
from skerry_agent.runner.tensor import Tensor, is_finite, nbytes
from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.manifest import Preprocess, TensorSpec
from skerry_agent.wire.shapes import squeezed

Values = Literal["sample", "real", "raw"]
VALUES: tuple[Values, ...] = get_args(Values)
MAX_BATCH = 256
MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_PICTURE_BYTES = 32 * 1024 * 1024
"""A 4K picture in RGB has 25 MB."""
MAX_SIDE, MAX_ELONGATION = 8192, 32.0
"""Larger or more elongated pictures would take far more memory and time to resize than their own size."""
CHANNELS = (1, 3, 4)
SAMPLE_DATATYPES = ("FP32", "FP64", "FP16", "UINT8", "UINT16", "UINT32", "UINT64", "INT16", "INT32", "INT64")


class Form(Struct, frozen=True):
    """What a client says of a tensor: its shape, its datatype, and what its values are, None if it does not say."""

    shape: tuple[int, ...]
    datatype: str
    values: Values | None = None


class Reading(Struct, frozen=True, eq=False):
    """How one tensor that a client sends is read: as `rows` tensors of the kind `row`, each made the model's input.

    `size` is the height and width of a picture, where it is one.
    """

    values: Values
    sent: TensorSpec
    rows: int
    row: TensorSpec
    make: Callable[[Tensor], Tensor]
    size: tuple[int, int] | None = None

    def tensor(self, whole: Tensor) -> Tensor:
        """The model's input where there is one row. Raises `RequestError` (400) when it does not fit."""
        return whole if self.values == "raw" else self.make(Tensor(whole.dtype, self.row.shape, whole.data))

    def tensors(self, whole: Tensor) -> list[Tensor]:
        """The model's input for each row. Raises `RequestError` (400) when one does not fit."""
        step, data = nbytes(self.row), memoryview(whole.data)
        rows = [data[at : at + step] for at in range(0, self.rows * step, step)]
        return [self.make(Tensor(whole.dtype, self.row.shape, row)) for row in rows]


def reading(form: Form, spec: TensorSpec, prep: Preprocess) -> Reading:
    """How to read a tensor for input `spec`, of which samples are preprocessed by `prep`.

    Raises `RequestError` (400) that says what the model takes.
    """
    values = _meaning(form, spec)
    if values == "raw":
        return _raw(form, spec)
    if any(n < 1 for n in form.shape):
        raise RequestError(400, f"input {spec.name} has shape {list(form.shape)}, which holds nothing")
    _check_datatype(form, spec, values)
    return _converted(form, spec, prep if values == "sample" else Preprocess(), values)


def _meaning(form: Form, spec: TensorSpec) -> Values:
    """INT8 can only be the model's own: that is how applications sent it before there were samples."""
    if form.values is not None:
        return form.values
    return "raw" if form.datatype == "INT8" or spec.dtype == "bool" else "sample"


def _raw(form: Form, spec: TensorSpec) -> Reading:
    own, name = DATATYPES[spec.dtype], spec.name
    if form.datatype != own:
        hint = "" if form.values else '; without "values" INT8 means the integers of an int8 model'
        raise RequestError(400, f"input {name} is {own}, not {form.datatype}{hint}")
    if form.shape != spec.shape:
        raise RequestError(400, f"input {name} has shape {list(spec.shape)}, not {list(form.shape)}")
    return Reading("raw", spec, 1, spec, _unchanged)


def _unchanged(tensor: Tensor) -> Tensor:
    return tensor


def _check_datatype(form: Form, spec: TensorSpec, values: Values) -> None:
    if form.datatype == "BYTES":
        raise RequestError(
            400, f"input {spec.name}: strings and encoded pictures are not read: send the pixels as UINT8"
        )
    real = real_spec(spec)
    whole = {"INT32", "INT64"} if real.dtype == "int32" and values == "sample" else {DATATYPES[real.dtype]}
    allowed = whole if real.dtype != "float32" else {"FP32", DATATYPES[spec.dtype]} - {"INT8"}
    if values == "sample" and real.dtype == "float32":
        allowed = {*SAMPLE_DATATYPES, *(["INT8"] if form.values else [])}
    if form.datatype not in allowed:
        raise RequestError(400, f"input {spec.name} is {DATATYPES[real.dtype]}, not {form.datatype}")


def _converted(form: Form, spec: TensorSpec, prep: Preprocess, values: Values) -> Reading:
    dtype = DTYPES[form.datatype]
    rows, shape = _rows(form, spec, prep, values)
    if not 1 <= rows <= MAX_BATCH:
        raise RequestError(400, f"input {spec.name}: a batch of {rows}, at most {MAX_BATCH} samples go in one request")
    sent, row = (TensorSpec(spec.name, dtype, s) for s in (form.shape, shape))
    if rows * prod(shape) != prod(form.shape):
        raise _misfit(form, spec, prep)
    size = (shape[0], shape[1]) if values == "sample" and len(shape) == 3 else None
    make = partial(_make, prep=prep, spec=spec, plain=values == "real" or is_plain(prep, shape, spec))
    return Reading(values, sent, rows, row, make, size)


def _make(sample: Tensor, prep: Preprocess, spec: TensorSpec, *, plain: bool) -> Tensor:
    try:
        if plain:
            made = prepared(sample, prep, spec)
        else:
            from skerry_agent.runner.samples import prepared_array  # noqa: PLC0415 - imports numpy

            made = prepared_array(sample, prep, spec)
    except SkerryError as error:
        raise RequestError(400, f"input {spec.name}: {error.message}") from None
    except MemoryError:
        raise RequestError(503, f"input {spec.name}: there is no memory to preprocess it now") from None
    if not is_finite(made):
        raise RequestError(400, f"input {spec.name}: values are beyond {DATATYPES[spec.dtype]} after preprocessing")
    return made


def _rows(form: Form, spec: TensorSpec, prep: Preprocess, values: Values) -> tuple[int, tuple[int, ...]]:
    """How many samples a tensor holds, and the shape of each."""
    shape, batched = form.shape, spec.shape[:1] == (1,)
    wanted = spec.shape if not batched else spec.shape[1:] if values == "real" else prep.sample_shape(spec)
    if squeezed(shape) == squeezed(wanted):
        return 1, wanted
    if batched and len(shape) > 1 and squeezed(shape[1:]) == squeezed(wanted):
        return shape[0], wanted
    if batched and values == "sample" and prep.takes_image(spec):
        return _pictures(form, spec, prep, wanted)
    raise _misfit(form, spec, prep)


def _pictures(form: Form, spec: TensorSpec, prep: Preprocess, wanted: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Pictures of other sizes or colours than the model's; channels are their last axis."""
    rows, shape = 1, form.shape
    if len(shape) == 4:
        rows, shape = shape[0], shape[1:]
    elif len(shape) == 3 and shape[2] not in CHANNELS and (shape[0] == 1 or wanted[-1] == 1):
        rows, shape = shape[0], (*shape[1:], 1)
    elif len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3 or shape[2] not in CHANNELS or (prep.resize == "none" and shape[:2] != wanted[:2]):
        raise _misfit(form, spec, prep)
    elongation = shape[0] * wanted[1] / (shape[1] * wanted[0])
    if max(shape[:2]) > MAX_SIDE or not 1 / MAX_ELONGATION <= elongation <= MAX_ELONGATION:
        raise RequestError(
            400, f"input {spec.name}: a picture of {shape[0]} x {shape[1]} is too large or too elongated"
        )
    return rows, shape


def _misfit(form: Form, spec: TensorSpec, prep: Preprocess) -> RequestError:
    real, sample = list(spec.shape), [1, *prep.sample_shape(spec)] if spec.shape[:1] == (1,) else list(spec.shape)
    wanted = f"has shape {sample}"
    if prep.resize != "none":
        wanted = f"takes pictures of shape [height, width, channels] or [n, height, width, channels], as {sample}"
    elif sample != real:
        wanted += " (channels last)"
    hint = '; with "values": "real" it is the preprocessed input' if tuple(form.shape) == spec.shape else ""
    return RequestError(400, f"input {spec.name} {wanted}, not {list(form.shape)}{hint}")
