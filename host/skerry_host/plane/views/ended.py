"""How many deployments have ended, by model, outcome and reason, as numbers that only go up: what Prometheus counts.

The registry says how those deployments ended that there are. One whose outcome is revised later (a device rolls back
what had succeeded) stays counted as what it was, too: a counter that goes down is read as one that began anew. What was
counted beyond the registry is kept in a file, so that it outlives the process; without that file it begins anew.
"""

import logging
import threading
from collections import Counter
from pathlib import Path

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from skerry_host.files import write_atomic
from skerry_host.plane.registry.records import changes, rollouts
from skerry_host.plane.registry.records.changes import NOTHING
from skerry_host.plane.registry.tables import DeploymentRow
from skerry_host.plane.views.labels import LABELS

Key = tuple[str, str, str]
"""Model, outcome, reason."""

OTHER = "other"
NONE = "none"
MODELS = 100
"""So many models are counted by name, those that were deployed first."""

log = logging.getLogger(__name__)


class EndedDeployments:
    """Kept between questions; asked by several threads. Reads the registry only when deployments have changed."""

    def __init__(self, file: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._file = file
        self._seen = NOTHING
        self._tally: Counter[Key] = Counter()
        self._beyond = _read(file)
        self._releases: frozenset[str] = frozenset()

    def read(self, session: Session) -> dict[Key, int]:
        """How many, by model, outcome and reason; codes that the host does not know are `other`."""
        with self._lock:
            now = changes.now(session)
            if now != self._seen:
                self._recount(session)
                self._releases = rollouts.releases(session)
                self._seen = now
            return dict(sorted((self._tally + self._beyond).items()))

    @property
    def releases(self) -> frozenset[str]:
        """Those that a rollout has named, as of the last `read`."""
        return self._releases

    def _recount(self, session: Session) -> None:
        tally = _tally(session)
        revised = self._tally - tally
        self._tally = tally
        if revised:
            self._beyond += revised
            self._keep()

    def _keep(self) -> None:
        if self._file is None:
            return
        try:
            write_atomic(self._file, msgspec.json.encode([[*key, count] for key, count in self._beyond.items()]))
        except OSError as error:
            log.warning("%s cannot be written: %s", self._file, error.strerror)


def _tally(session: Session) -> Counter[Key]:
    row = DeploymentRow
    query = select(row.model, row.outcome, row.reason, func.count()).where(row.outcome.is_not(None))
    found: Counter[Key] = Counter()
    oldest = select(row.model).group_by(row.model).order_by(func.min(row.created), row.model).limit(MODELS)
    models = set(session.scalars(oldest))  # the same ones whenever it is asked, whatever comes later
    for model, outcome, reason, count in session.execute(query.group_by(row.model, row.outcome, row.reason)):
        found[model if model in models else OTHER, _known(outcome or ""), _known(reason) if reason else NONE] += count
    return found


def _known(code: str) -> str:
    """A code of the host's own tables: a device's word makes no label."""
    return code if code in LABELS else OTHER


def _read(file: Path | None) -> Counter[Key]:
    try:
        rows = msgspec.json.decode(file.read_bytes(), type=list[tuple[str, str, str, int]]) if file else []
    except (OSError, msgspec.MsgspecError):
        return Counter()
    return Counter({(model, outcome, reason): count for model, outcome, reason, count in rows})
