"""Devices and rollouts as JSON: the same views that the pages show."""

import time

from starlette.responses import Response

from skerry_host.plane.registry.records import devices as device_records
from skerry_host.plane.registry.records import rollouts as rollout_records
from skerry_host.plane.views import gather
from skerry_host.plane.web.entry import Query
from skerry_host.plane.web.json_response import json_response


def overview(query: Query) -> Response:
    """The whole fleet."""
    with query.registry.read() as session:
        return json_response(gather.overview(session, time.time()))


def devices(query: Query) -> Response:
    """Every device."""
    with query.registry.read() as session:
        return json_response(gather.device_views(session, device_records.all_devices(session)))


def device(query: Query) -> Response:
    """One device with its deployments."""
    with query.registry.read() as session:
        found = device_records.find(session, query.request.path_params["id"])
        view = gather.device_views(session, [found])[0]
        return json_response({"device": view, "deployments": gather.deployments_of(session, found.id)})


def rollouts(query: Query) -> Response:
    """The newest rollouts."""
    with query.registry.read() as session:
        return json_response([gather.rollout_view(session, row) for row in rollout_records.latest(session)])


def rollout(query: Query) -> Response:
    """One rollout."""
    with query.registry.read() as session:
        found = rollout_records.find(session, query.request.path_params["id"])
        return json_response(gather.rollout_view(session, found))
