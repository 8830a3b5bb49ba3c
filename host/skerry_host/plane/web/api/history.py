"""What a device has measured over some time, as JSON: `?span=14d` until now, in intervals of `&period=1h` if given."""

import time

from starlette.responses import Response

from skerry_host.plane.registry.records import devices
from skerry_host.plane.registry.telemetry.port import seconds
from skerry_host.plane.views.history import history
from skerry_host.plane.web.entry import Query
from skerry_host.plane.web.json_response import json_response


def answer(query: Query) -> Response:
    """The history of the device that the path names; raises `UnknownError` or `DurationError`."""
    asked, now = query.request.query_params, time.time()
    period = seconds(asked["period"]) if "period" in asked else None
    with query.registry.read() as session:
        device = devices.find(session, query.request.path_params["id"]).id
        return json_response(history(session, device, now - seconds(asked.get("span", "24h")), now, period))
