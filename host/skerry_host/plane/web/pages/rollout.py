"""One rollout with all its deployments."""

import time

from skerry_host.plane.registry.records import rollouts
from skerry_host.plane.views import gather
from skerry_host.plane.web.entry import Page, Query


def values(query: Query) -> dict[str, object]:
    """The rollout that the path names; raises `UnknownError`."""
    with query.registry.read() as session:
        view = gather.rollout_view(session, rollouts.find(session, query.request.path_params["id"]))
    return {"rollout": view, "now": time.time()}


PAGE = Page("/rollouts/{id}", values, "rollout.html")
