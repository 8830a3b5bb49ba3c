"""Whether the plane is alive, for a process supervisor. Reads no registry, so it answers while that is locked."""

from dataclasses import asdict, replace

from starlette.responses import Response

from skerry_host.plane.web.entry import Query
from skerry_host.plane.web.json_response import json_response


def answer(query: Query) -> Response:
    """What was counted since the start; status 503 without a connection to the broker."""
    counters = query.counters()
    shown = asdict(replace(counters, models={}))
    del shown["models"]
    return json_response(shown, status=200 if counters.connected else 503)
