"""The fleet as Prometheus metrics; docs/metrics.md lists every family, and what is promised of it.

Units are seconds, joules, bytes, watts. What is absent or no longer current is left out, never 0: Prometheus takes
whatever is exported for a value of now. No label and no name of a family is a device's word alone.
"""

import time
from collections import Counter

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response

from skerry_host.plane.registry.records import alarms, receipts, rollouts
from skerry_host.plane.views import gather
from skerry_host.plane.web.api.device_metrics import device_families
from skerry_host.plane.web.api.plane_metrics import Figures, PlaneMetrics
from skerry_host.plane.web.entry import Query

PROCESS = ProcessCollector(registry=CollectorRegistry())
"""The plane's own CPU, memory and open files, as every Prometheus client names them."""


def answer(query: Query) -> Response:
    """All families."""
    with query.registry.read() as session:
        figures = Figures(
            gather.newest_figures(session, query.newest, time.time()),
            query.counters(),
            len(rollouts.active(session)),
            receipts.missing_of_all(session),
            query.ended.read(session),
            query.ended.releases,
            Counter(alarm.kind for alarm in alarms.every(session)),
        )
    text, kind = exposition(figures)
    return Response(text, media_type=kind)


def exposition(figures: Figures) -> tuple[bytes, str]:
    """The text and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PlaneMetrics(figures))
    registry.register(PROCESS)
    lines = [line for family in device_families(figures.devices, figures.releases) for line in family.lines()]
    return generate_latest(registry) + "".join(lines).encode(), CONTENT_TYPE_PLAIN_0_0_4
