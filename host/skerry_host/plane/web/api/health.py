"""Whether the plane is alive, for a process supervisor. Reads no registry, so it answers while that is locked."""

from dataclasses import asdict

from starlette.responses import Response

from skerry_host.plane.web.entry import Query
from skerry_host.plane.web.json_response import json_response


def answer(query: Query) -> Response:
    """What was counted since the start; status 503 without a connection to the broker."""
    counters = query.counters()
    return json_response(asdict(counters), status=200 if counters.connected else 503)
