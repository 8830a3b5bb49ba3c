"""One device: what it runs, its newest intervals and measurements, its deployments."""

import time

from skerry_host.plane.registry.records import devices
from skerry_host.plane.views import gather
from skerry_host.plane.web.entry import Page, Query


def values(query: Query) -> dict[str, object]:
    """The device that the path names; raises `UnknownError`."""
    with query.registry.read() as session:
        found = devices.find(session, query.request.path_params["id"])
        view = gather.device_views(session, [found])[0]
        past = gather.deployments_of(session, found.id)
    return {"device": view, "deployments": past, "now": time.time()}


PAGE = Page("/devices/{id}", values, "device.html")
