"""The two kinds of entries in the table of routes, and what each is given. Knows no route and renders nothing."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from skerry_host.plane.registry.database import Registry
from skerry_host.plane.views.counters import Counters
from skerry_host.plane.views.ended import EndedDeployments
from skerry_host.plane.views.newest import NewestIntervals


@dataclass(frozen=True, slots=True)
class Query:
    """One request, with the registry, the plane's counters and what is kept between requests to answer it from."""

    registry: Registry
    counters: Callable[[], Counters]
    newest: NewestIntervals
    ended: EndedDeployments
    request: Request


@dataclass(frozen=True, slots=True)
class Page:
    """A page for people: `values` are those of its template; `link` is its word in the navigation, if it has one."""

    path: str
    values: Callable[[Query], dict[str, object]]
    template: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An answer for programs; `link` is its word in the navigation, if it has one."""

    path: str
    answer: Callable[[Query], Response]
    link: str = ""


Entry = Page | Endpoint
