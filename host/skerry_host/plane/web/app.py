"""The ASGI application: makes routes of the table in `routes`. Every answer is made from the registry as it is now."""

from collections.abc import Callable, Iterable
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from skerry_host.plane.errors import DurationError, PlaneError, UnknownError
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.views.counters import Counters
from skerry_host.plane.views.ended import EndedDeployments
from skerry_host.plane.views.newest import NewestIntervals
from skerry_host.plane.web.entry import Entry, Page, Query
from skerry_host.plane.web.headers import SafeHeaders
from skerry_host.plane.web.json_response import json_response
from skerry_host.plane.web.rendering import Renderer
from skerry_host.plane.web.routes import ROUTES

STATIC = Path(__file__).parent / "static"
HOSTS = ["127.0.0.1", "localhost"]
"""Host names that are accepted: this prevents DNS rebinding by a page from elsewhere."""


def application(
    registry: Registry,
    counters: Callable[[], Counters],
    table: Iterable[Entry] = ROUTES,
    *,
    counted: Path | None = None,
) -> Starlette:
    """The ASGI application over one registry; `counted` is the file of what outlives it of its counters."""
    entries = tuple(table)
    renderer, newest, ended = Renderer(entries), NewestIntervals(), EndedDeployments(counted)

    def route(entry: Entry) -> Route:
        def answer(request: Request) -> Response:
            return _answer(entry, Query(registry, counters, newest, ended, request), renderer)

        return Route(entry.path, answer)

    return Starlette(
        routes=[*map(route, entries), Mount("/static", StaticFiles(directory=STATIC))],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS), Middleware(SafeHeaders)],
        exception_handlers={UnknownError: _refuse(404), DurationError: _refuse(400)},
    )


def _answer(entry: Entry, query: Query, renderer: Renderer) -> Response:
    if isinstance(entry, Page):
        return renderer.render(entry.template, entry.values(query))
    return entry.answer(query)


def _refuse(status: int) -> Callable[[Request, Exception], Response]:
    def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, PlaneError)
        return json_response({"error": error.code, "message": error.message, "hint": error.hint}, status=status)

    return refused
