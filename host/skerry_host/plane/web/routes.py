"""The table of everything that is served: routes, navigation and rendering all read it.

A new page is `pages/NAME.py` with a `PAGE`, and its template `pages/NAME.html`: no list names the pages.
"""

from importlib import import_module
from pkgutil import iter_modules

from skerry_host.plane.web import pages
from skerry_host.plane.web.api import fleet, health, history, metrics
from skerry_host.plane.web.entry import Endpoint, Entry, Page


def _pages() -> list[Page]:
    """Those of the modules in `pages`, by path: the overview is first in the navigation."""
    modules = [import_module(f"{pages.__name__}.{found.name}") for found in iter_modules(pages.__path__)]
    return sorted((module.PAGE for module in modules), key=lambda page: page.path)


ROUTES: tuple[Entry, ...] = (
    *_pages(),
    Endpoint("/api/v1/overview", fleet.overview, link="API"),
    Endpoint("/api/v1/devices", fleet.devices),
    Endpoint("/api/v1/devices/{id}", fleet.device),
    Endpoint("/api/v1/devices/{id}/history", history.answer),
    Endpoint("/api/v1/rollouts", fleet.rollouts),
    Endpoint("/api/v1/rollouts/{id}", fleet.rollout),
    Endpoint("/metrics", metrics.answer, link="Metrics"),
    Endpoint("/healthz", health.answer),
)
