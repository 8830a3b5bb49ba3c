"""The inference request and response of the Open Inference Protocol v2, with binary data and shared memory.

Formats: kserve/open-inference-protocol (specification/protocol/inference_rest.md) and Triton's
extension_binary_data.md and extension_shared_memory.md. Turns bytes into tensors and back; runs no model.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from skerry_agent.runner.http import tensors
from skerry_agent.runner.http.messages import BINARY, RequestError, Response
from skerry_agent.runner.http.shared_memory import Regions, Span
from skerry_agent.runner.tensor import Data, Tensor, nbytes
from skerry_agent.wire.codec import encode
from skerry_agent.wire.manifest import TensorSpec

HEADER_LENGTH = "inference-header-content-length"
_UNSUPPORTED = ("classification",)
_SIZE_DIGITS = 15
"""Of a size that is no nonsense: Python refuses to read numbers of thousands of digits."""
_KEEP, _KEEP_BYTES = 64, 4096
"""How many requests are kept, and how long their JSON may be."""
_REGION, _OFFSET, _SIZE = "shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"


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


class Wanted(Struct, frozen=True):
    """One output to answer: its place among the model's, and how: as binary data, or into shared memory."""

    index: int
    binary: bool
    span: Span | None = None


class Part(Struct, frozen=True):
    """Where the bytes that follow the JSON hold a tensor."""

    start: int
    stop: int


class Plan(Struct, frozen=True, eq=False):
    """What a request's JSON asks for: where each input is, in the model's order; the outputs, in the order to answer.

    `head` is the JSON of the response, None if that depends on the outputs.
    """

    id: str | None
    inputs: tuple[Part | Span | Tensor, ...]
    outputs: tuple[Wanted, ...]
    head: bytes | None = None


class Served(Struct, frozen=True):
    """What is served under which name, and the regions that clients of its Unix socket may name."""

    model: str
    version: str
    platform: str
    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]
    regions: Regions | None = None


class Protocol:
    """Reads requests and writes responses. Clients send the same JSON again and again: what it asks for is kept."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._kept: dict[tuple[bytes, int, int | None], tuple[object, Plan]] = {}

    def read(self, body: Data, header_length: str | None, uid: int | None) -> tuple[Plan, list[Tensor]]:
        """A request and its inputs. Raises `RequestError` (400) that says what does not fit."""
        size = _header_size(header_length, len(body))
        head, rest = bytes(body[:size]), memoryview(body)[size:]
        plan = self._plan(head, len(rest), uid)
        return plan, [self._tensor(source, spec, rest) for source, spec in zip(plan.inputs, self._served.inputs)]  # noqa: B905

    def write(self, plan: Plan, results: Sequence[Tensor]) -> Response:
        """The response with the outputs that were asked for; those of shared memory are put there."""
        for wanted in plan.outputs:
            if wanted.span is not None and self._served.regions is not None:
                self._served.regions.write(wanted.span, results[wanted.index].data)
        raw = plan.head if plan.head is not None else self._head(plan.id, plan.outputs, results)
        chunks = [results[wanted.index].data for wanted in plan.outputs if wanted.binary]
        if not chunks:
            return Response(200, raw)
        return Response(200, b"".join((raw, *chunks)), BINARY, ((HEADER_LENGTH, str(len(raw))),))

    def _plan(self, head: bytes, rest: int, uid: int | None) -> Plan:
        regions = self._served.regions if uid is not None else None
        version = regions.version if regions is not None else None
        key = (head, rest, uid)
        before, plan = self._kept.get(key, (None, None))
        if plan is None or before is not version:
            plan = self._parse(head, rest, Asking(self._served.inputs, self._served.outputs, regions, uid or 0))
            if len(head) <= _KEEP_BYTES and not any(isinstance(source, Tensor) for source in plan.inputs):
                if len(self._kept) >= _KEEP:
                    self._kept.clear()
                self._kept[key] = version, plan
        return plan

    def _parse(self, head: bytes, rest: int, asking: "Asking") -> Plan:
        try:
            message = msgspec.json.decode(head, type=InferBody)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RequestError(400, f"request: {error}") from None
        inputs = _read_inputs(message.inputs, _parts(message.inputs, rest), asking)
        outputs = _wanted(message, asking)
        fixed = all(wanted.binary or wanted.span is not None for wanted in outputs)
        return Plan(message.id, tuple(inputs), outputs, self._head(message.id, outputs, ()) if fixed else None)

    def _tensor(self, source: Part | Span | Tensor, spec: TensorSpec, rest: memoryview) -> Tensor:
        if isinstance(source, Part):
            return tensors.from_bytes(rest[source.start : source.stop], spec)
        if isinstance(source, Span):
            assert self._served.regions is not None
            return tensors.from_bytes(self._served.regions.read(source), spec)
        return source

    def _head(self, request: str | None, outputs: Sequence[Wanted], results: Sequence[Tensor]) -> bytes:
        entries = []
        for wanted in outputs:
            spec, span = self._served.outputs[wanted.index], wanted.span
            entry = tensors.describe(spec)
            if span is not None:
                entry["parameters"] = {_REGION: span.region.name, _OFFSET: span.offset, _SIZE: span.byte_size}
            elif wanted.binary:
                entry["parameters"] = {"binary_data_size": nbytes(spec)}
            else:
                entry["data"] = tensors.to_json(results[wanted.index], spec.name)
            entries.append(entry)
        model: dict[str, object] = {"model_name": self._served.model, "model_version": self._served.version}
        return encode(model | {"outputs": entries} | ({"id": request} if request is not None else {}))


class Asking(Struct, frozen=True):
    """What a body may refer to: the model's tensors, and the shared memory of the user who asks, if he may use any."""

    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]
    regions: Regions | None = None
    uid: int = 0

    def span(self, name: str, parameters: dict[str, Any], size: int) -> Span | None:
        """The part of a region that a tensor of `size` bytes is in or goes to, None if its data travel in the body."""
        if _REGION not in parameters:
            return None
        if self.regions is None:
            raise RequestError(400, f"{name}: shared memory is for clients on the Unix socket")
        given = parameters.get(_SIZE)
        if given != size:
            raise RequestError(400, f"{name}: {_SIZE} is {given}, the tensor has {size} bytes")
        return self.regions.span(self.uid, parameters[_REGION], parameters.get(_OFFSET, 0), given)


def _header_size(text: str | None, total: int) -> int:
    if text is None:
        return total
    if not text.isascii() or not text.isdigit() or len(text) > _SIZE_DIGITS or int(text) > total:
        raise RequestError(400, f"{HEADER_LENGTH} is {text[:40]!r}, the body has {total} bytes")
    return int(text)


def _parts(entries: Sequence[InputEntry], rest: int) -> list[Part | None]:
    """What follows the JSON, `rest` bytes, cut as the inputs say; None for inputs whose data are not there."""
    parts: list[Part | None] = []
    at = 0
    for entry in entries:
        size = entry.parameters.get("binary_data_size")
        if size is None:
            parts.append(None)
            continue
        if not isinstance(size, int) or not 0 <= size <= rest - at:
            raise RequestError(400, f"input {entry.name}: binary_data_size {size} does not fit the body")
        parts.append(Part(at, at + size))
        at += size
    if at != rest:
        raise RequestError(400, f"{rest - at} bytes follow the last input")
    return parts


def _read_inputs(entries: list[InputEntry], parts: list[Part | None], asking: Asking) -> list[Part | Span | Tensor]:
    specs, names = asking.inputs, [entry.name for entry in entries]
    if sorted(names) != sorted(spec.name for spec in specs):
        raise RequestError(400, f"inputs are {names}, the model takes {[spec.name for spec in specs]}")
    return [_read_input(entries[i], parts[i], spec, asking) for spec in specs for i in (names.index(spec.name),)]


def _read_input(entry: InputEntry, part: Part | None, spec: TensorSpec, asking: Asking) -> Part | Span | Tensor:
    _refuse_unsupported(entry.name, entry.parameters)
    if entry.datatype != tensors.DATATYPES[spec.dtype]:
        raise RequestError(400, f"input {spec.name} is {tensors.DATATYPES[spec.dtype]}, not {entry.datatype}")
    if entry.shape != spec.shape:
        raise RequestError(400, f"input {spec.name} has shape {list(spec.shape)}, not {list(entry.shape)}")
    span = asking.span(f"input {spec.name}", entry.parameters, nbytes(spec))
    if (part is not None) + (entry.data is not None) + (span is not None) != 1:
        raise RequestError(400, f"input {spec.name} needs either data, binary_data_size or {_REGION}")
    return part or span or tensors.from_json(entry.data, spec)


def _wanted(message: InferBody, asking: Asking) -> tuple[Wanted, ...]:
    """Each output to answer: those asked for, or all."""
    default = message.parameters.get("binary_data_output") is True
    if not message.outputs:
        return tuple(Wanted(index, default) for index in range(len(asking.outputs)))
    names = [spec.name for spec in asking.outputs]
    wanted = []
    for entry in message.outputs:
        _refuse_unsupported(entry.name, entry.parameters)
        if entry.name not in names:
            raise RequestError(400, f"no output {entry.name}; the model gives {names}")
        index, binary = names.index(entry.name), entry.parameters.get("binary_data", default) is True
        span = asking.span(f"output {entry.name}", entry.parameters, nbytes(asking.outputs[index]))
        wanted.append(Wanted(index, binary and span is None, span))
    return tuple(wanted)


def _refuse_unsupported(name: str, parameters: dict[str, Any]) -> None:
    for parameter in _UNSUPPORTED:
        if parameter in parameters:
            raise RequestError(400, f"{name}: {parameter} is not supported")
