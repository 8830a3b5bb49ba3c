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


class Wanted(Struct):
    """One output to answer: its place among the model's, and how: as binary data, or into shared memory."""

    index: int
    binary: bool
    span: Span | None = None


class InferRequest(Struct):
    """A parsed request: input tensors in the model's order, and the outputs in the order to answer."""

    id: str | None
    inputs: list[Tensor]
    outputs: list[Wanted]


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


def parse(body: Data, header_length: str | None, asking: Asking) -> InferRequest:
    """Parse a request for a model. Raises `RequestError` (400) that says what does not fit."""
    size = _header_size(header_length, len(body))
    try:
        message = msgspec.json.decode(memoryview(body)[:size], type=InferBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(400, f"request: {error}") from None
    chunks = _binary_chunks(message.inputs, memoryview(body)[size:])
    return InferRequest(message.id, _read_inputs(message.inputs, chunks, asking), _wanted(message, asking))


def respond(
    request: InferRequest, results: Sequence[Tensor], specs: Sequence[TensorSpec], model: tuple[str, str]
) -> Response:
    """The response with the outputs that were asked for; `model` is (name, version)."""
    entries, chunks = [], []
    for wanted in request.outputs:
        index, span = wanted.index, wanted.span
        entry = tensors.describe(specs[index])
        if span is not None:
            entry["parameters"] = {_REGION: span.region.name, _OFFSET: span.offset, _SIZE: span.byte_size}
        elif wanted.binary:
            chunks.append(results[index].data)
            entry["parameters"] = {"binary_data_size": len(chunks[-1])}
        else:
            entry["data"] = tensors.to_json(results[index], specs[index].name)
        entries.append(entry)
    head: dict[str, object] = {"model_name": model[0], "model_version": model[1], "outputs": entries}
    if request.id is not None:
        head["id"] = request.id
    raw = encode(head)
    if not chunks:
        return Response(200, raw)
    return Response(200, b"".join((raw, *chunks)), BINARY, ((HEADER_LENGTH, str(len(raw))),))


def _header_size(text: str | None, total: int) -> int:
    if text is None:
        return total
    if not text.isascii() or not text.isdigit() or int(text) > total:
        raise RequestError(400, f"{HEADER_LENGTH} is {text!r}, the body has {total} bytes")
    return int(text)


def _binary_chunks(entries: Sequence[InputEntry], rest: memoryview) -> list[Data | None]:
    """What follows the JSON, cut as the inputs say; None for inputs with JSON data."""
    chunks: list[Data | None] = []
    at = 0
    for entry in entries:
        size = entry.parameters.get("binary_data_size")
        if size is None:
            chunks.append(None)
            continue
        if not isinstance(size, int) or not 0 <= size <= len(rest) - at:
            raise RequestError(400, f"input {entry.name}: binary_data_size {size} does not fit the body")
        chunks.append(rest[at : at + size])
        at += size
    if at != len(rest):
        raise RequestError(400, f"{len(rest) - at} bytes follow the last input")
    return chunks


def _read_inputs(entries: list[InputEntry], chunks: list[Data | None], asking: Asking) -> list[Tensor]:
    specs, names = asking.inputs, [entry.name for entry in entries]
    if sorted(names) != sorted(spec.name for spec in specs):
        raise RequestError(400, f"inputs are {names}, the model takes {[spec.name for spec in specs]}")
    return [_read_input(entries[i], chunks[i], spec, asking) for spec in specs for i in (names.index(spec.name),)]


def _read_input(entry: InputEntry, chunk: Data | None, spec: TensorSpec, asking: Asking) -> Tensor:
    _refuse_unsupported(entry.name, entry.parameters)
    if entry.datatype != tensors.DATATYPES[spec.dtype]:
        raise RequestError(400, f"input {spec.name} is {tensors.DATATYPES[spec.dtype]}, not {entry.datatype}")
    if entry.shape != spec.shape:
        raise RequestError(400, f"input {spec.name} has shape {list(spec.shape)}, not {list(entry.shape)}")
    span = asking.span(f"input {spec.name}", entry.parameters, nbytes(spec))
    if (chunk is not None) + (entry.data is not None) + (span is not None) != 1:
        raise RequestError(400, f"input {spec.name} needs either data, binary_data_size or {_REGION}")
    if span is not None and asking.regions is not None:
        chunk = asking.regions.read(span)
    return tensors.from_json(entry.data, spec) if chunk is None else tensors.from_bytes(chunk, spec)


def _wanted(message: InferBody, asking: Asking) -> list[Wanted]:
    """Each output to answer: those asked for, or all."""
    default = message.parameters.get("binary_data_output") is True
    if not message.outputs:
        return [Wanted(index, default) for index in range(len(asking.outputs))]
    names = [spec.name for spec in asking.outputs]
    wanted = []
    for entry in message.outputs:
        _refuse_unsupported(entry.name, entry.parameters)
        if entry.name not in names:
            raise RequestError(400, f"no output {entry.name}; the model gives {names}")
        index, binary = names.index(entry.name), entry.parameters.get("binary_data", default) is True
        span = asking.span(f"output {entry.name}", entry.parameters, nbytes(asking.outputs[index]))
        wanted.append(Wanted(index, binary, span))
    return wanted


def _refuse_unsupported(name: str, parameters: dict[str, Any]) -> None:
    for parameter in _UNSUPPORTED:
        if parameter in parameters:
            raise RequestError(400, f"{name}: {parameter} is not supported")
