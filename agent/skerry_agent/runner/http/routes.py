"""Which request gets which answer: the paths of the Open Inference Protocol v2. Opens no socket."""

import zlib
from collections.abc import Callable, Sequence
from math import prod
from time import perf_counter_ns
from urllib.parse import unquote

from skerry_agent.runner.errors import UNUSUAL_INPUT, InferenceError
from skerry_agent.runner.http import documents, oip
from skerry_agent.runner.http.inputs import MAX_PICTURE_BYTES
from skerry_agent.runner.http.messages import Request, RequestError, Response, json_response
from skerry_agent.runner.http.oip import Served
from skerry_agent.runner.http.plan import Plan, Stream
from skerry_agent.runner.inference import Inference
from skerry_agent.runner.streams import Streams
from skerry_agent.runner.tensor import Data, Tensor

_JSON_BYTES_PER_ELEMENT = 32
"""More than any number needs as JSON text, so that the largest body is bounded by the model itself."""
_EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics")
_HEAD_BYTES = 65536
_SMALL_BYTES = 1024 * 1024
"""What a body may have in any case: many small samples may come in one request."""
BATCH_NS = 4 * 10**9
"""How long a batch may take: a release that takes over waits no longer than this for open requests."""
_ENCODINGS = {"gzip": 31, "deflate": 15}
"""Content codings, as the `wbits` argument of zlib."""


class Routes:
    """Answers requests about one model. `ready` says whether new work is welcome."""

    def __init__(self, served: Served, inference: Inference, ready: Callable[[], bool]) -> None:
        self._served, self._inference = served, inference
        self._protocol = oip.Protocol(served)
        self._streams = Streams(served.bundle)
        self._ready = ready
        self._statistics = documents.Statistics()
        self.batch_ns = BATCH_NS
        self.max_body_bytes = max_body_bytes(served)
        whole = f"/v2/models/{served.model}"
        self._infer_paths = {f"{whole}/infer", f"{whole}/versions/{served.version}/infer"}

    def answer(self, request: Request) -> Response:
        """The response to any request; what is wrong with it becomes a 4xx with `{"error": ...}`."""
        try:
            usual = request.path in self._infer_paths and request.method == "POST"
            return self._infer(request) if usual else self._route(request)
        except RequestError as error:
            return error.response

    def _route(self, request: Request) -> Response:
        match [unquote(part) for part in request.path.partition("?")[0].strip("/").split("/")]:
            case ["v2", "systemsharedmemory", *rest]:
                return self._shared_memory(request, rest)
            case ["v2", "repository", *rest]:
                return self._repository(request, rest)
            case ["v2", "models", "stats"] if self._served.model != "stats":
                return _get(request, self._statistics.document(self._served))
            case ["v2", "models", model, "versions", version, *rest]:
                return self._model(request, model, version, rest)
            case ["v2", "models", model, *rest]:
                return self._model(request, model, self._served.version, rest)
            case ["v2", *rest]:
                return self._server(request, rest)
        raise _no_path(request)

    def _server(self, request: Request, path: list[str]) -> Response:
        match path:
            case []:
                return _get(request, {"name": "skerry", "version": "2", "extensions": self._extensions(request)})
            case ["health", "live"]:
                return _get(request, {"live": True})
            case ["health", "ready"]:
                return self._readiness(request, {"ready": self._ready()})
        raise _no_path(request)

    def _model(self, request: Request, model: str, version: str, path: list[str]) -> Response:
        served = self._served
        if (model, version) != (served.model, served.version):
            raise RequestError(404, f"model {model} {version} is not loaded, {served.model} {served.version} is")
        match path:
            case []:
                return _get(request, documents.metadata(served))
            case ["ready"]:
                return self._readiness(request, {"name": model, "ready": self._ready()})
            case ["infer"]:
                _require(request, "POST")
                return self._infer(request)
            case ["stats"]:
                return _get(request, self._statistics.document(served))
            case [name] if name in documents.DOCUMENTS:
                return _get(request, documents.DOCUMENTS[name](served))
        raise _no_path(request)

    def _repository(self, request: Request, path: list[str]) -> Response:
        match path:
            case ["index"]:
                _require(request, "POST")
                return json_response(documents.index(self._served, ready=self._ready()))
            case ["models", _, "load" | "unload"]:
                raise RequestError(400, "models come and go by rollouts of the host: skerry rollout start")
        raise _no_path(request)

    def _extensions(self, request: Request) -> list[str]:
        memory = request.uid is not None and self._served.regions is not None
        return [*_EXTENSIONS, *(["system_shared_memory"] if memory else [])]

    def _shared_memory(self, request: Request, path: list[str]) -> Response:
        regions, uid = self._served.regions, request.uid
        if regions is None or uid is None:
            raise RequestError(400, "shared memory is for clients on the Unix socket")
        *rest, action = path or [""]
        name = rest[1] if len(rest) == 2 and rest[0] == "region" else None
        match action:
            case "status" if name is not None or not rest:
                _require(request, "GET")
                return json_response(regions.status(uid, name))
            case "register" if name is not None:
                _require(request, "POST")
                regions.register(uid, name, request.body)
                return Response(200, b"")
            case "unregister" if name is not None or not rest:
                _require(request, "POST")
                regions.unregister(uid, name)
                return Response(200, b"")
        raise _no_path(request)

    def _readiness(self, request: Request, body: dict[str, object]) -> Response:
        _require(request, "GET")
        return json_response(body, 200 if body["ready"] else 503)

    def _infer(self, request: Request) -> Response:
        began = perf_counter_ns()
        try:
            plan, inputs = self._read(request)
            self._statistics.add_up()
            read = perf_counter_ns()
            results = self._run(inputs, read) if plan.stream is None else self._run_stream(plan.stream, inputs, read)
            inferred = perf_counter_ns()
            response = self._protocol.write(plan, results)
        except RequestError:
            self._statistics.failed(perf_counter_ns() - began)
            raise
        self._statistics.note(began, read, inferred, perf_counter_ns(), plan.rows)
        return response

    def _read(self, request: Request) -> tuple[Plan, list[list[Tensor]]]:
        try:
            body = self._decompressed(request)
            return self._protocol.read(body, request.headers.get(oip.HEADER_LENGTH), request.uid)
        except RequestError:
            self._inference.refused_input()
            raise

    def _run(self, inputs: Sequence[Sequence[Tensor]], began: int) -> list[list[Tensor]]:
        """The model's outputs for each row; other clients' inferences come between those of a batch."""
        results: list[list[Tensor]] = []
        try:
            for row in inputs:
                if results:
                    self._check_time(len(results), len(inputs), began)
                results.append(self._inference.infer(row))
        except InferenceError as error:
            raise _failure(error) from None
        return results

    def _check_time(self, done: int, of: int, began: int) -> None:
        if perf_counter_ns() - began > self.batch_ns:
            raise RequestError(503, f"{done} of {of} samples took {self.batch_ns / 1e9:g} s: send fewer in one request")

    def _run_stream(self, stream: Stream, inputs: Sequence[Sequence[Tensor]], began: int) -> list[list[Tensor]]:
        """The model's outputs for each row: consecutive samples of a stream, whose states go from one to the next.

        After a failure, or where it takes too long, the stream begins anew.
        """
        done = 0

        def infer(row: Sequence[Tensor]) -> list[Tensor]:
            nonlocal done
            if done:
                self._check_time(done, len(inputs), began)
            done += 1
            return self._inference.infer(row)

        if stream.begins or not stream.name:
            self._streams.end(stream.name)
        elif stream.goes_on and not self._streams.known(stream.name):
            raise RequestError(400, f"sequence {stream.name} is not known here: begin it with sequence_start")
        try:
            results = self._streams.infer(stream.name, inputs, infer)
        except InferenceError as error:
            raise _failure(error) from None
        if stream.ends:
            self._streams.end(stream.name)
        return results

    def _decompressed(self, request: Request) -> Data:
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding == "identity":
            return request.body
        if encoding not in _ENCODINGS:
            raise RequestError(415, f"content-encoding {encoding[:50]} is not supported")
        stream = zlib.decompressobj(_ENCODINGS[encoding])
        try:
            body = stream.decompress(request.body, self.max_body_bytes)
        except zlib.error:
            raise RequestError(400, f"body is not valid {encoding}") from None
        if not stream.eof:
            raise RequestError(400, f"{encoding} body is cut, or unpacks to more than {self.max_body_bytes} bytes")
        return body


def max_body_bytes(served: Served) -> int:
    """The largest body: bounded by the model's inputs as JSON, or by a picture where those of any size are taken."""
    elements = sum(prod(spec.shape) for spec in served.bundle.inputs)
    resized = any(prep.resize != "none" for prep in (served.bundle.preprocess, *served.bundle.preprocesses))
    data = max(_SMALL_BYTES, _JSON_BYTES_PER_ELEMENT * elements, MAX_PICTURE_BYTES if resized else 0)
    return _HEAD_BYTES + data


def _no_path(request: Request) -> RequestError:
    return RequestError(404, f"no such path: {request.path[:200]}")


def _failure(error: InferenceError) -> RequestError:
    return RequestError(400 if error.code == UNUSUAL_INPUT else 500, str(error))


def _get(request: Request, body: object) -> Response:
    _require(request, "GET")
    return json_response(body)


def _require(request: Request, method: str) -> None:
    if request.method != method:
        raise RequestError(405, f"use {method}", (("allow", method),))
