"""The routes. Every answer is made from the registry as it is now; nothing here changes anything.

/                         the page                /api/v1/overview            all of it
/devices/{id}             one device              /api/v1/devices[/{id}]      devices, or one with its deployments
/rollouts/{id}            one rollout             /api/v1/rollouts[/{id}]     rollouts, or one
/healthz                  is it alive             /metrics                    for Prometheus
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from skerry_host.plane.errors import UnknownError
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import devices, rollouts
from skerry_host.plane.views.counters import Counters
from skerry_host.plane.views.gather import deployments_of, device_views, overview, rollout_view
from skerry_host.plane.web.headers import SafeHeaders
from skerry_host.plane.web.metrics import exposition
from skerry_host.plane.web.pages import Pages

HERE = Path(__file__).parent
JSON = "application/json"
HOSTS = ["127.0.0.1", "localhost"]
"""A page elsewhere that points its own name at this machine cannot read the fleet."""


def application(registry: Registry, counters: Callable[[], Counters]) -> Starlette:
    """The ASGI application over one registry."""
    pages = Pages(registry)
    api = _Api(registry, counters)
    routes = [
        Route("/", pages.overview),
        Route("/devices/{id}", pages.device),
        Route("/rollouts/{id}", pages.rollout),
        Route("/healthz", api.health),
        Route("/metrics", api.metrics),
        Route("/api/v1/overview", api.overview),
        Route("/api/v1/devices", api.devices),
        Route("/api/v1/devices/{id}", api.device),
        Route("/api/v1/rollouts", api.rollouts),
        Route("/api/v1/rollouts/{id}", api.rollout),
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ]
    handlers = {UnknownError: _unknown}
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS), Middleware(SafeHeaders)]
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)


class _Api:
    """JSON for programs."""

    def __init__(self, registry: Registry, counters: Callable[[], Counters]) -> None:
        self._registry = registry
        self._counters = counters

    def overview(self, _request: Request) -> Response:
        with self._registry.read() as session:
            return _json(overview(session, time.time()))

    def devices(self, _request: Request) -> Response:
        with self._registry.read() as session:
            return _json(device_views(session, devices.every(session)))

    def device(self, request: Request) -> Response:
        with self._registry.read() as session:
            found = devices.find(session, request.path_params["id"])
            view = device_views(session, [found])[0]
            return _json({"device": view, "deployments": deployments_of(session, found.id)})

    def rollouts(self, _request: Request) -> Response:
        with self._registry.read() as session:
            return _json([rollout_view(session, row) for row in rollouts.latest(session)])

    def rollout(self, request: Request) -> Response:
        with self._registry.read() as session:
            return _json(rollout_view(session, rollouts.find(session, request.path_params["id"])))

    def health(self, _request: Request) -> Response:
        counters = self._counters()
        return _json(asdict(counters), status=200 if counters.connected else 503)

    def metrics(self, _request: Request) -> Response:
        with self._registry.read() as session:
            seen = overview(session, time.time())
        text, kind = exposition(seen, self._counters())
        return Response(text, media_type=kind)


def _json(data: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(data), status, media_type=JSON)


def _unknown(_request: Request, error: Exception) -> Response:
    assert isinstance(error, UnknownError)
    return _json({"error": error.code, "message": error.message, "hint": error.hint}, status=404)
