"""The inference request and response of the Open Inference Protocol v2, with binary data and shared memory.

Formats: kserve/open-inference-protocol (specification/protocol/inference_rest.md) and Triton's
extension_binary_data.md, extension_shared_memory.md and extension_classification.md. Turns bytes into the model's
tensors and back, by what `plan` has read in the request's JSON; runs no model.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from skerry_agent.runner.http import tensors
from skerry_agent.runner.http.inputs import Values
from skerry_agent.runner.http.messages import BINARY, RequestError, Response
from skerry_agent.runner.http.names import Names
from skerry_agent.runner.http.outputs import Answers, Given, Wanted, fixed_spec
from skerry_agent.runner.http.plan import OFFSET, REGION, SIZE, Asking, Part, Plan, Source, make_plan
from skerry_agent.runner.http.shared_memory import Regions, Span
from skerry_agent.runner.labels import Labels
from skerry_agent.runner.tensor import Data, Tensor, nbytes
from skerry_agent.wire.codec import encode
from skerry_agent.wire.manifest import Bundle, Quality

HEADER_LENGTH = "inference-header-content-length"
_SIZE_DIGITS = 15
"""Of a size that is no nonsense: Python refuses to read numbers of thousands of digits."""
_KEEP, _KEEP_BYTES = 64, 4096
"""How many requests are kept, and how long their JSON may be."""


class Served(Struct, frozen=True):
    """What is served under which name, and the regions that clients of its Unix socket may name.

    `values` is what tensors hold for clients that do not say, None by the rule of `inputs`.
    """

    model: str
    version: str
    platform: str
    bundle: Bundle
    regions: Regions | None = None
    labels: Labels | None = None
    quality: Quality | None = None
    values: Values | None = None


class Protocol:
    """Reads requests and writes responses. Clients send the same JSON again and again: what it asks for is kept."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._names = Names(served.bundle)
        self._answers = Answers(served.bundle, served.labels)
        self._kept: dict[tuple[bytes, int, int | None], tuple[object, Plan]] = {}

    def read(self, body: Data, header_length: str | None, uid: int | None) -> tuple[Plan, list[list[Tensor]]]:
        """A request, and the inputs of each inference. Raises `RequestError` (400) that says what does not fit."""
        size = _header_size(header_length, len(body))
        head, rest = bytes(body[:size]), memoryview(body)[size:]
        plan = self._plan(head, len(rest), uid)
        if plan.rows == 1:
            return plan, [[one.reading.tensor(self._tensor(one, rest)) for one in plan.inputs]]
        columns = [one.reading.tensors(self._tensor(one, rest)) for one in plan.inputs]
        return plan, [list(row) for row in zip(*columns, strict=True)]

    def write(self, plan: Plan, results: Sequence[Sequence[Tensor]]) -> Response:
        """The response with the outputs that were asked for; those of shared memory are put there.

        After an inference the processor's caches hold the model, so that each line here costs: a plan that only copies
        says so.
        """
        if plan.copied is not None and plan.head is not None:
            row = results[0]
            chunks = [plan.head, *[row[index].data for index in plan.copied]]
            return Response(200, b"".join(chunks), BINARY, plan.headers)
        return self._made(plan, results)

    def _made(self, plan: Plan, results: Sequence[Sequence[Tensor]]) -> Response:
        if plan.head is None:
            given = [self._answers.give(wanted, results, plan.size) for wanted in plan.outputs]
            raw, data = self._head(plan, given), [one.data for one in given]
        else:
            raw, data = plan.head, [self._answers.fixed(wanted, results) for wanted in plan.outputs]
        chunks: list[Data] = [raw]
        for wanted, content in zip(plan.outputs, data, strict=True):
            if wanted.binary:
                chunks.append(content)
            elif wanted.span is not None and self._served.regions is not None:
                self._served.regions.write(wanted.span, content)
        if len(chunks) == 1:
            return Response(200, raw)
        return Response(200, b"".join(chunks), BINARY, _headers(raw))

    def _plan(self, head: bytes, rest: int, uid: int | None) -> Plan:
        regions = self._served.regions if uid is not None else None
        version = regions.version if regions is not None else None
        key = (head, rest, uid)
        before, plan = self._kept.get(key, (None, None))
        if plan is None or before is not version:
            asking = Asking(self._served.bundle, self._names, self._served.values, regions, uid or 0)
            plan = self._with_head(make_plan(head, rest, asking))
            if len(head) <= _KEEP_BYTES and not any(isinstance(one.place, Tensor) for one in plan.inputs):
                if len(self._kept) >= _KEEP:
                    self._kept.clear()
                self._kept[key] = version, plan
        return plan

    def _with_head(self, plan: Plan) -> Plan:
        """The plan with the JSON of its response, where that does not depend on the outputs."""
        given = []
        for wanted in plan.outputs:
            spec = fixed_spec(wanted, self._names.specs[wanted.index], plan.rows)
            if spec is None or not (wanted.binary or wanted.span is not None):
                return plan
            given.append(Given(spec.name, tensors.DATATYPES[spec.dtype], spec.shape, b"", size=nbytes(spec)))
        head = self._head(plan, given)
        copies = plan.rows == 1 and all(wanted.kind == "raw" and wanted.binary for wanted in plan.outputs)
        copied = tuple(wanted.index for wanted in plan.outputs) if copies else None
        return replace(plan, head=head, headers=_headers(head), copied=copied)

    def _tensor(self, source: Source, rest: memoryview) -> Tensor:
        place, spec = source.place, source.reading.sent
        if isinstance(place, Part):
            tensor = Tensor(spec.dtype, spec.shape, rest[place.start : place.stop])
            return tensors.finite(tensor, spec) if tensor.is_float else tensor
        if isinstance(place, Span):
            assert self._served.regions is not None
            return tensors.from_bytes(self._served.regions.read(place), spec)
        return place

    def _head(self, plan: Plan, given: Sequence[Given]) -> bytes:
        entries = [_entry(wanted, one) for wanted, one in zip(plan.outputs, given, strict=True)]
        model: dict[str, object] = {"model_name": self._served.model, "model_version": self._served.version}
        return encode(model | {"outputs": entries} | ({"id": plan.id} if plan.id is not None else {}))


def _entry(wanted: Wanted, given: Given) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": given.name, "datatype": given.datatype, "shape": given.shape}
    span = wanted.span
    if span is not None:
        entry["parameters"] = {REGION: span.region.name, OFFSET: span.offset, SIZE: span.byte_size}
    elif wanted.binary:
        entry["parameters"] = {"binary_data_size": len(given.data) if given.size is None else given.size}
    else:
        entry["data"] = given.numbers()
    return entry


def _headers(head: bytes) -> tuple[tuple[str, str], ...]:
    return ((HEADER_LENGTH, str(len(head))),)


def _header_size(text: str | None, total: int) -> int:
    if text is None:
        return total
    if not text.isascii() or not text.isdigit() or len(text) > _SIZE_DIGITS or int(text) > total:
        raise RequestError(400, f"{HEADER_LENGTH} is {text[:40]!r}, the body has {total} bytes")
    return int(text)
