"""Blobs over HTTP: `/blobs/<sha256>` with byte ranges, `/blobs/<sha256>/digests`. Immutable, so they may be cached.

An application of its own, apart from the web page: devices must reach it, browsers need not. Anybody who knows a hash
gets the bytes, as on the broker; devices check them against the signed manifest, so nothing is checked here.
"""

from functools import lru_cache

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from skerry_agent.wire.blobs import digest_list
from skerry_agent.wire.errors import SkerryError
from skerry_host.release.store import Store

PATH = "/blobs"
BYTES = "application/octet-stream"
IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}


def blob_application(store: Store) -> Starlette:
    """The ASGI application over a store."""

    @lru_cache(maxsize=64)
    def digests_of(sha256: str) -> bytes:
        return digest_list(store.get(sha256))

    def blob(request: Request) -> Response:
        try:
            path = store.path(request.path_params["sha256"])
        except SkerryError as error:
            return PlainTextResponse(f"{error}\n", status_code=404)
        return FileResponse(path, media_type=BYTES, headers=IMMUTABLE)

    def digests(request: Request) -> Response:
        try:
            return Response(digests_of(request.path_params["sha256"]), media_type=BYTES, headers=IMMUTABLE)
        except SkerryError as error:
            return PlainTextResponse(f"{error}\n", status_code=404)

    return Starlette(routes=[Route(f"{PATH}/{{sha256}}", blob), Route(f"{PATH}/{{sha256}}/digests", digests)])
