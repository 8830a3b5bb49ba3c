"""The table of everything that is served: routes, navigation and rendering all read it.

A new page is `pages/NAME.py`, its template `pages/NAME.html` and one line here.
"""

from skerry_host.plane.web.api import fleet, health, metrics
from skerry_host.plane.web.entry import Endpoint, Entry, Page
from skerry_host.plane.web.pages import device, overview, rollout

ROUTES: tuple[Entry, ...] = (
    Page("/", overview.values, "overview.html", link="Fleet"),
    Page("/devices/{id}", device.values, "device.html"),
    Page("/rollouts/{id}", rollout.values, "rollout.html"),
    Endpoint("/api/v1/overview", fleet.overview, link="API"),
    Endpoint("/api/v1/devices", fleet.devices),
    Endpoint("/api/v1/devices/{id}", fleet.device),
    Endpoint("/api/v1/rollouts", fleet.rollouts),
    Endpoint("/api/v1/rollouts/{id}", fleet.rollout),
    Endpoint("/metrics", metrics.answer, link="Metrics"),
    Endpoint("/healthz", health.answer),
)
