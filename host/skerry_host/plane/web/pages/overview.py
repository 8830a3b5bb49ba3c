"""The whole fleet, a page of devices at a time."""

import time

from skerry_host.plane.registry.records import devices
from skerry_host.plane.views import gather
from skerry_host.plane.web.entry import Page, Query

PAGE_DEVICES = 100


def values(query: Query) -> dict[str, object]:
    """The figures of the fleet, the devices of the page that `?page=` names, the newest rollouts and events."""
    number = _page_number(query)
    with query.registry.read() as session:
        everyone = devices.all_devices(session)
        first = number * PAGE_DEVICES
        seen = gather.overview(session, time.time(), everyone[first : first + PAGE_DEVICES])
    last = max(0, (len(everyone) - 1) // PAGE_DEVICES)
    return {"seen": seen, "page": number, "last_page": last, "devices_in_all": len(everyone)}


def _page_number(query: Query) -> int:
    text = query.request.query_params.get("page", "0")
    return min(int(text), 10**6) if text.isascii() and text.isdigit() else 0


PAGE = Page("/", values, "overview.html", link="Fleet")
