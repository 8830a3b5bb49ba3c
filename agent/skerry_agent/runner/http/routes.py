"""Which request gets which answer: the paths of the Open Inference Protocol v2. Opens no socket."""

import zlib
from collections.abc import Callable
from math import prod
from urllib.parse import unquote

from skerry_agent.runner.errors import InferenceError
from skerry_agent.runner.http import oip, tensors
from skerry_agent.runner.http.messages import Request, RequestError, Response, json_response
from skerry_agent.runner.http.oip import Served
from skerry_agent.runner.inference import Inference
from skerry_agent.runner.tensor import Data

_JSON_BYTES_PER_ELEMENT = 32
"""More than any number needs as JSON text, so that the largest body is bounded by the model itself."""
_ENCODINGS = {"gzip": 31, "deflate": 15}
"""Content codings, as the `wbits` argument of zlib."""


class Routes:
    """Answers requests about one model. `ready` says whether new work is welcome."""

    def __init__(self, served: Served, inference: Inference, ready: Callable[[], bool]) -> None:
        self._served, self._inference = served, inference
        self._protocol = oip.Protocol(served)
        self._ready = ready
        elements = sum(prod(t.shape) for t in served.inputs)
        self.max_body_bytes = 65536 + _JSON_BYTES_PER_ELEMENT * elements
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
            case ["v2"]:
                return _get(request, {"name": "skerry", "version": "2", "extensions": self._extensions(request)})
            case ["v2", "health", "live"]:
                return _get(request, {"live": True})
            case ["v2", "health", "ready"]:
                return self._readiness(request, {"ready": self._ready()})
            case ["v2", "systemsharedmemory", *rest]:
                return self._shared_memory(request, rest)
            case ["v2", "models", model, "versions", version, *rest]:
                return self._model(request, model, version, rest)
            case ["v2", "models", model, *rest]:
                return self._model(request, model, self._served.version, rest)
        raise RequestError(404, f"no such path: {request.path[:200]}")

    def _model(self, request: Request, model: str, version: str, rest: list[str]) -> Response:
        served = self._served
        if (model, version) != (served.model, served.version):
            raise RequestError(404, f"model {model} {version} is not loaded, {served.model} {served.version} is")
        match rest:
            case []:
                return _get(request, self._metadata())
            case ["ready"]:
                return self._readiness(request, {"name": model, "ready": self._ready()})
            case ["infer"]:
                _require(request, "POST")
                return self._infer(request)
        raise RequestError(404, f"no such path: {request.path[:200]}")

    def _metadata(self) -> dict[str, object]:
        served = self._served
        return {
            "name": served.model,
            "versions": [served.version],
            "platform": served.platform,
            "inputs": [tensors.describe(t) for t in served.inputs],
            "outputs": [tensors.describe(t) for t in served.outputs],
        }

    def _extensions(self, request: Request) -> list[str]:
        memory = request.uid is not None and self._served.regions is not None
        return ["binary_tensor_data", *(["system_shared_memory"] if memory else [])]

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
        raise RequestError(404, f"no such path: {request.path[:200]}")

    def _readiness(self, request: Request, body: dict[str, object]) -> Response:
        _require(request, "GET")
        return json_response(body, 200 if body["ready"] else 503)

    def _infer(self, request: Request) -> Response:
        try:
            body = self._decompressed(request)
            plan, inputs = self._protocol.read(body, request.headers.get(oip.HEADER_LENGTH), request.uid)
        except RequestError:
            self._inference.refused_input()
            raise
        try:
            results = self._inference.infer(inputs)
        except InferenceError as error:
            raise RequestError(500, str(error)) from None
        return self._protocol.write(plan, results)

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


def _get(request: Request, body: dict[str, object]) -> Response:
    _require(request, "GET")
    return json_response(body)


def _require(request: Request, method: str) -> None:
    if request.method != method:
        raise RequestError(405, f"use {method}", (("allow", method),))
