"""The whole fleet, a page of devices at a time."""

import time

from skerry_host.plane.views import gather
from skerry_host.plane.web.entry import Page, Query


def values(query: Query) -> dict[str, object]:
    """The figures of the fleet, the devices behind the one that `?after=` names, the newest rollouts and events."""
    after = query.request.query_params.get("after", "")
    with query.registry.read() as session:
        return {"seen": gather.overview(session, time.time(), gather.Page(after), query.newest), "after": after}


PAGE = Page("/", values, "overview.html", link="Fleet")
