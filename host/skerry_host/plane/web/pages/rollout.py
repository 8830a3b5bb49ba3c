"""One rollout, a page of its deployments at a time."""

import time

from skerry_host.plane.registry.records import rollouts
from skerry_host.plane.views import gather
from skerry_host.plane.views.admission import admission_lines
from skerry_host.plane.web.entry import Page, Query


def values(query: Query) -> dict[str, object]:
    """The rollout that the path names, with the page of its deployments that `?page=` does; raises `UnknownError`."""
    page = _page_number(query)
    with query.registry.read() as session:
        found = rollouts.find(session, query.request.path_params["id"])
        view = gather.rollout_view(session, found, gather.PAGE, page * gather.PAGE)
    last = max(0, (view.devices - 1) // gather.PAGE)
    left_out = admission_lines(view.admission)
    return {"rollout": view, "left_out": left_out, "page": page, "last_page": last, "now": time.time()}


def _page_number(query: Query) -> int:
    text = query.request.query_params.get("page", "0")
    return min(int(text), 10**6) if text.isascii() and text.isdigit() else 0


PAGE = Page("/rollouts/{id}", values, "rollout.html")
