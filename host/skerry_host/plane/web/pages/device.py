"""One device: what it runs, its newest intervals and measurements, its deployments."""

import time

from sqlalchemy.orm import Session

from skerry_host.plane.registry.records import devices
from skerry_host.plane.registry.telemetry.port import seconds
from skerry_host.plane.views import gather
from skerry_host.plane.views.history import history
from skerry_host.plane.views.views import DeviceView, Point
from skerry_host.plane.web.entry import Page, Query

SPANS = {"": "newest", "24h": "24 hours", "14d": "14 days", "365d": "a year"}
"""Of what the charts are, with the word for it."""


def values(query: Query) -> dict[str, object]:
    """The device that the path names; raises `UnknownError`."""
    with query.registry.read() as session:
        found = devices.find(session, query.request.path_params["id"])
        view = gather.device_views(session, [found])[0]
        past = gather.deployments_of(session, found.id)
        span = query.request.query_params.get("span", "")
        charted = _charted(session, view, span)
    return {"device": view, "deployments": past, "charted": charted, "spans": SPANS, "span": span, "now": time.time()}


def _charted(session: Session, view: DeviceView, span: str) -> dict[str, tuple[Point, ...]]:
    """The points of each model's charts: of some time, or those of the newest reports."""
    if not span or span not in SPANS:
        return {model.model: model.points for model in view.models}
    now = time.time()
    found = history(session, view.id, now - seconds(span), now).models
    return {model.model: found.get(model.model, ()) for model in view.models}


PAGE = Page("/devices/{id}", values, "device.html")
