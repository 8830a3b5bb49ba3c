"""Devices and rollouts as JSON: the same views that the pages show, and as the pages do, a part at a time.

`?limit=` says how many, `?cursor=` where to go on; the header `Link` holds the address of the next part.
"""

import time

from starlette.responses import Response

from skerry_host.plane.registry.records import devices as device_records
from skerry_host.plane.registry.records import rollouts as rollout_records
from skerry_host.plane.views import gather
from skerry_host.plane.web.api import paging
from skerry_host.plane.web.entry import Query
from skerry_host.plane.web.json_response import json_response


def overview(query: Query) -> Response:
    """The fleet in figures, with a page of its devices; `next` is the cursor of the next page."""
    page = gather.Page(paging.cursor(query), paging.limit(query))
    with query.registry.read() as session:
        seen = gather.overview(session, time.time(), page, query.newest)
    return paging.linked(query, seen, seen.next)


def devices(query: Query) -> Response:
    """A page of the devices."""
    after, most = paging.cursor(query), paging.limit(query)
    with query.registry.read() as session:
        shown, rest = device_records.page(session, after, most)
        return paging.linked(query, gather.device_views(session, shown), rest)


def device(query: Query) -> Response:
    """One device with its deployments."""
    with query.registry.read() as session:
        found = device_records.find(session, query.request.path_params["id"])
        view = gather.device_views(session, [found])[0]
        return json_response({"device": view, "deployments": gather.deployments_of(session, found.id)})


def rollouts(query: Query) -> Response:
    """The newest rollouts, each with the first of its deployments."""
    with query.registry.read() as session:
        newest = rollout_records.latest(session)
        return json_response([gather.rollout_view(session, row, gather.ROLLOUT_PAGE) for row in newest])


def rollout(query: Query) -> Response:
    """One rollout with a page of its deployments."""
    behind, most = paging.number(query), paging.limit(query)
    with query.registry.read() as session:
        found = rollout_records.find(session, query.request.path_params["id"])
        view = gather.rollout_view(session, found, most, behind)
    end = behind + len(view.deployments)
    return paging.linked(query, view, str(end) if end < view.devices else None)
