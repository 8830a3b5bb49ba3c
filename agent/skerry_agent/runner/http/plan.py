"""What the JSON of a request asks for: where each input is and how it is read, and which outputs to answer how.

A plan holds no data that travels beside the JSON, so it is good for every request with the same JSON.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from skerry_agent.runner.http import tensors
from skerry_agent.runner.http.inputs import (
    MAX_ANSWER_BYTES,
    VALUES,
    Form,
    Reading,
    Values,
    reading,
)
from skerry_agent.runner.http.messages import RequestError
from skerry_agent.runner.http.names import Names
from skerry_agent.runner.http.outputs import ANSWER, Kind, Wanted, answer_bytes, computed_outputs, fixed_spec
from skerry_agent.runner.http.shared_memory import Regions, Span
from skerry_agent.runner.tensor import Tensor, nbytes
from skerry_agent.wire.manifest import Bundle, TensorSpec

REGION, OFFSET, SIZE = "shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"


class InputEntry(Struct):
    """One tensor of a request: with `data`, or with `parameters.binary_data_size` bytes after the JSON."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = None


class OutputEntry(Struct):
    """One output that the client wants."""

    name: str
    parameters: dict[str, Any] = {}


class InferBody(Struct):
    """The JSON of a request."""

    inputs: list[InputEntry]
    id: str | None = None
    outputs: list[OutputEntry] = []
    parameters: dict[str, Any] = {}


class Part(Struct, frozen=True):
    """Where the bytes that follow the JSON hold a tensor."""

    start: int
    stop: int


class Source(Struct, frozen=True, eq=False):
    """One input: where its data are (in the JSON itself they are a tensor), and how they are read.

    `at` is its place among the model's inputs.
    """

    place: Part | Span | Tensor
    reading: Reading
    at: int


class Stream(Struct, frozen=True):
    """Which stream the samples of a request belong to, for a model that is fed back its states; see `runner.streams`.

    By the parameters of Triton's extension_sequence.md. Without a name they are a stream of their own. `goes_on`: the
    client says that it has begun already.
    """

    name: str = ""
    begins: bool = False
    ends: bool = False
    goes_on: bool = False


class Plan(Struct, frozen=True, eq=False):
    """What a request's JSON asks for: each input, in the model's order; the outputs, in the order to answer.

    `rows` is how many inferences it takes. `head` is the JSON of the response, None if that depends on the outputs;
    `headers` are what its length needs. `copied` are the outputs whose bytes follow it as they are, None where more is
    to be done. `stream`: the states are not among the inputs, but those of a stream. `size` is the height and width of
    the picture, where one is sent.
    """

    id: str | None
    inputs: tuple[Source, ...]
    outputs: tuple[Wanted, ...]
    rows: int = 1
    head: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    copied: tuple[int, ...] | None = None
    stream: Stream | None = None
    size: tuple[int, int] | None = None


class Asking(Struct, frozen=True):
    """What a body may refer to: the model's tensors, and the shared memory of the user who asks, if he may use any."""

    bundle: Bundle
    names: Names
    values: Values | None = None
    regions: Regions | None = None
    uid: int = 0

    def span(self, name: str, parameters: dict[str, Any], spec: TensorSpec | None) -> Span | None:
        """The part of a region that a tensor is in or goes to, None if its data travel in the body."""
        if REGION not in parameters:
            return None
        if self.regions is None:
            raise RequestError(400, f"{name}: shared memory is for clients on the Unix socket")
        if spec is None:
            raise RequestError(400, f"{name}: its size is not known beforehand, so it cannot go to shared memory")
        given, size = parameters.get(SIZE), nbytes(spec)
        if given != size:
            raise RequestError(400, f"{name}: {SIZE} is {given}, the tensor has {size} bytes")
        return self.regions.span(self.uid, parameters[REGION], parameters.get(OFFSET, 0), size)


def make_plan(head: bytes, rest: int, asking: Asking) -> Plan:
    """Read a request's JSON, which `rest` bytes follow. Raises `RequestError` (400) that says what does not fit."""
    try:
        message = msgspec.json.decode(head, type=InferBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(400, f"request: {error}") from None
    inputs = _read_inputs(message, _parts(message.inputs, rest), asking)
    rows = _common_rows(inputs, asking.bundle)
    stream = _stream(message.parameters) if len(inputs) < len(asking.bundle.inputs) else None
    size = next((one.reading.size for one in inputs if one.at == asking.bundle.picture_place), None)
    return Plan(message.id, tuple(inputs), _wanted(message, inputs, rows, asking), rows, stream=stream, size=size)


def _stream(parameters: dict[str, Any]) -> Stream:
    """What the parameters say of a sequence. Raises `RequestError` (400)."""
    name, begins, ends = (parameters.get(f"sequence_{part}") for part in ("id", "start", "end"))
    if name is not None and not (isinstance(name, str | int) and len(str(name)) <= _NAME):
        raise RequestError(400, f"sequence_id is a number or a text of at most {_NAME} characters")
    if not all(flag is None or isinstance(flag, bool) for flag in (begins, ends)):
        raise RequestError(400, "sequence_start and sequence_end are true or false")
    known = "" if name in {None, 0, ""} else str(name)
    return Stream(known, begins is True, ends is True, begins is False)


_NAME = 64


def _parts(entries: Sequence[InputEntry], rest: int) -> list[Part | None]:
    """What follows the JSON, `rest` bytes, cut as the inputs say; None for inputs whose data are not there."""
    parts: list[Part | None] = []
    at = 0
    for entry in entries:
        size = entry.parameters.get("binary_data_size")
        if size is None:
            parts.append(None)
            continue
        if type(size) is not int or not 0 <= size <= rest - at:
            raise RequestError(400, f"input {entry.name}: binary_data_size {size} does not fit the body")
        parts.append(Part(at, at + size))
        at += size
    if at != rest:
        raise RequestError(400, f"{rest - at} bytes follow the last input")
    return parts


def _read_inputs(message: InferBody, parts: list[Part | None], asking: Asking) -> list[Source]:
    names = [entry.name for entry in message.inputs]
    found = asking.names.find_inputs(names)
    if found is None:
        raise RequestError(400, f"inputs are {names}, the model takes {asking.names.known_inputs}")
    default = _values(message.parameters, "request", asking.values)
    return [_read_input(message.inputs[at], parts[at], (place, default), asking) for place, at in found]


def _read_input(entry: InputEntry, part: Part | None, known: tuple[int, Values | None], asking: Asking) -> Source:
    place, default = known
    spec = asking.bundle.inputs[place]
    spec = TensorSpec(entry.name, spec.dtype, spec.shape, spec.scale, spec.zero_point)
    form = Form(entry.shape, entry.datatype, _values(entry.parameters, f"input {entry.name}", default))
    read = reading(form, spec, asking.bundle.preprocess_at(place))
    span = asking.span(f"input {spec.name}", entry.parameters, read.sent)
    if (part is not None) + (entry.data is not None) + (span is not None) != 1:
        raise RequestError(400, f"input {spec.name} needs either data, binary_data_size or {REGION}")
    if part is not None and part.stop - part.start != nbytes(read.sent):
        size = part.stop - part.start
        raise RequestError(400, f"input {spec.name}: {size} bytes of data, {nbytes(read.sent)} expected")
    return Source(part or span or tensors.from_json(entry.data, read.sent), read, place)


def _values(parameters: dict[str, Any], whose: str, default: Values | None) -> Values | None:
    given = parameters.get("values", default)
    if given is not None and given not in VALUES:
        raise RequestError(400, f'{whose}: "values" is one of {", ".join(VALUES)}, not {str(given)[:40]}')
    return given


def _common_rows(inputs: Sequence[Source], bundle: Bundle) -> int:
    """How many inferences a request takes: all inputs have as many samples."""
    counts = {one.reading.rows for one in inputs} or {1}
    if len(counts) > 1:
        raise RequestError(400, f"inputs hold different numbers of samples: {sorted(counts)}")
    (rows,) = counts
    if rows > 1 and any(spec.shape[:1] != (1,) for spec in bundle.outputs):
        raise RequestError(400, f"{rows} samples in a request: the model's outputs have no batch, send one at a time")
    if rows > 1 and rows * answer_bytes(bundle) > MAX_ANSWER_BYTES:
        raise RequestError(400, f"{rows} samples in a request: the answer would be over {MAX_ANSWER_BYTES} bytes")
    return rows


class _Defaults(Struct, frozen=True):
    """What holds for outputs that do not say otherwise, and how many rows each has."""

    values: Values
    binary: bool
    rows: int


def _wanted(message: InferBody, inputs: Sequence[Source], rows: int, asking: Asking) -> tuple[Wanted, ...]:
    """Each output to answer: those asked for, or all."""
    raw = bool(inputs) and all(one.reading.values == "raw" for one in inputs)
    values: Values = _values(message.parameters, "request", asking.values) or ("raw" if raw else "real")
    default = _Defaults(values, message.parameters.get("binary_data_output") is True, rows)
    if not message.outputs:
        names = asking.names.answered([entry.name for entry in message.inputs], raw=raw)
        return tuple(Wanted(name, _kind(values), place, default.binary) for name, place in names)
    return tuple(_want(entry, default, asking) for entry in message.outputs)


def _want(entry: OutputEntry, default: _Defaults, asking: Asking) -> Wanted:
    name, parameters = entry.name, entry.parameters
    index = asking.names.find_output(name)
    binary = parameters.get("binary_data", default.binary) is True and REGION not in parameters
    if index is None:
        return _virtual(entry, binary, default.rows, asking)
    spec = asking.names.specs[index]
    wanted = Wanted(name, _kind(_values(parameters, f"output {name}", default.values)), index, binary)
    join = asking.names.join_of(index)
    if wanted.kind == "raw" and join is not None:
        parts = [asking.bundle.outputs[part].name for part in join.parts]
        raise RequestError(400, f"output {name} has no raw values: the model gives it in parts, {parts}")
    if (top := parameters.get("classification", 0)) != 0:
        wanted = Wanted(name, "top", index, binary, None, _top(name, top, spec))
    span = asking.span(f"output {name}", parameters, fixed_spec(wanted, spec, default.rows))
    return Wanted(name, wanted.kind, index, binary, span, wanted.top)


def _kind(values: Values | None) -> Kind:
    return "raw" if values == "raw" else "real"


def _top(name: str, top: object, spec: TensorSpec) -> int:
    if type(top) is not int or top < 1:
        raise RequestError(400, f"output {name}: classification is how many classes, not {str(top)[:40]}")
    if len([n for n in spec.shape if n != 1]) > 1:
        raise RequestError(400, f"output {name}: shape {list(spec.shape)} is not one value for each class")
    return top


def _virtual(entry: OutputEntry, binary: bool, rows: int, asking: Asking) -> Wanted:
    """An output that is computed from the model's."""
    name, known = entry.name, computed_outputs(asking.bundle.task)
    if name not in known:
        raise RequestError(400, f"no output {name}; the model gives {[*asking.names.outputs, *known]}")
    if rows > 1:
        what = "sample" if name == ANSWER else "picture"
        raise RequestError(400, f"output {name}: of one {what} at a time, not of {rows}")
    asking.span(f"output {name}", entry.parameters, None)
    return Wanted(name, name, 0, binary)  # type: ignore[arg-type]
