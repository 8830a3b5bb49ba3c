"""The pages, rendered on the host: they say everything without a line of script; the script only keeps them fresh."""

import time
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import devices, rollouts
from skerry_host.plane.views import words
from skerry_host.plane.views.gather import deployments_of, device_views, overview, rollout_view
from skerry_host.plane.web import charts

HERE = Path(__file__).parent
PAGE_DEVICES = 100


class Pages:
    """One method for each page."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=select_autoescape(default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(words.FILTERS)
        self._templates.globals.update(charts.DRAWINGS)

    def overview(self, request: Request) -> Response:
        """The whole fleet, a page of devices at a time."""
        number = _page_number(request)
        with self._registry.read() as session:
            everyone = devices.every(session)
            first = number * PAGE_DEVICES
            seen = overview(session, time.time(), everyone[first : first + PAGE_DEVICES])
        last = max(0, (len(everyone) - 1) // PAGE_DEVICES)
        return self._render("overview.html", seen=seen, page=number, last_page=last, devices_in_all=len(everyone))

    def device(self, request: Request) -> Response:
        """One device."""
        with self._registry.read() as session:
            found = devices.find(session, request.path_params["id"])
            view = device_views(session, [found])[0]
            past = deployments_of(session, found.id)
        return self._render("device.html", device=view, deployments=past, now=time.time())

    def rollout(self, request: Request) -> Response:
        """One rollout."""
        with self._registry.read() as session:
            view = rollout_view(session, rollouts.find(session, request.path_params["id"]))
        return self._render("rollout.html", rollout=view, now=time.time())

    def _render(self, template: str, **values: object) -> Response:
        return HTMLResponse(self._templates.get_template(template).render(**values))


def _page_number(request: Request) -> int:
    text = request.query_params.get("page", "0")
    return min(int(text), 10**6) if text.isascii() and text.isdigit() else 0
