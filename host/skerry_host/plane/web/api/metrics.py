"""The fleet as Prometheus metrics; docs/metrics.md lists every family, and what is promised of it.

Units are seconds, joules, bytes, watts. What is absent or no longer current is left out, never 0: Prometheus takes
whatever is exported for a value of now. No label is a device's word alone, except names of measurements, which are few.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response

from skerry_host.plane.registry.records import receipts, rollouts
from skerry_host.plane.views import gather
from skerry_host.plane.views.counters import Counters
from skerry_host.plane.views.ended import Key
from skerry_host.plane.views.views import NewestFigures
from skerry_host.plane.web.api.device_metrics import device_families
from skerry_host.plane.web.api.plane_metrics import PlaneMetrics
from skerry_host.plane.web.entry import Query

PROCESS = ProcessCollector(registry=CollectorRegistry())
"""The plane's own CPU, memory and open files, as every Prometheus client names them."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What is exported: from one consistent state of the registry, and what the plane has counted."""

    devices: Sequence[NewestFigures]
    counters: Counters
    active_rollouts: int = 0
    reports_missing: int = 0
    ended: Mapping[Key, int] = field(default_factory=dict)
    releases: frozenset[str] = frozenset()


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
        )
    text, kind = exposition(figures)
    return Response(text, media_type=kind)


def exposition(figures: Figures) -> tuple[bytes, str]:
    """The text and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(
        PlaneMetrics(
            figures.devices,
            figures.counters,
            figures.active_rollouts,
            figures.reports_missing,
            figures.ended,
            figures.releases,
        )
    )
    registry.register(PROCESS)
    lines = [line for family in device_families(figures.devices, figures.releases) for line in family.lines()]
    return generate_latest(registry) + "".join(lines).encode(), CONTENT_TYPE_PLAIN_0_0_4
