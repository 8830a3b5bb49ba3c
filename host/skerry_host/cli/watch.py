"""Shows the progress of a rollout in the terminal: one bar a device, filled by the bytes received. Reads only."""

import time
from typing import TYPE_CHECKING

from skerry_host.cli.common import safe
from skerry_host.cli.plane import PlaneWatcher
from skerry_host.fleet.rollout import ENDED
from skerry_host.plane.registry.records import rollouts
from skerry_host.plane.views.gather import rollout_view
from skerry_host.plane.views.labels import label, transports

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from skerry_host.cli.terminal import Terminal
    from skerry_host.plane.registry.database import Registry
    from skerry_host.plane.views.views import DeploymentView, RolloutView

POLL_S = 0.2
MAX_BARS = 20
"""Where a rollout has more devices, those in progress are shown first."""


def watch(opened: "Registry", rollout_id: str, console: "Terminal") -> "RolloutView":
    """Show a rollout until it has ended; the last view."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[state]}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
    )
    bars: dict[str, TaskID] = {}
    plane = PlaneWatcher(opened)
    with Progress(*columns, console=console, transient=True) as progress:
        while True:
            plane.look()
            with opened.read() as session:
                view = rollout_view(session, rollouts.find(session, rollout_id))
            for row in sorted(view.deployments, key=lambda d: d.outcome is not None):
                _show(progress, bars, row)
            if view.state in ENDED:
                return view
            time.sleep(POLL_S)


def _show(progress: "Progress", bars: "dict[str, TaskID]", row: "DeploymentView") -> None:
    if row.device not in bars:
        if len(bars) >= MAX_BARS:
            return
        bars[row.device] = progress.add_task(safe(row.device), total=None, state="")
    expected = row.bytes_expected or None
    done = expected if row.outcome == "succeeded" else row.bytes_received
    by = f" ({safe(transports(row.transports))})" if row.transports else ""
    state = f"{label(row.outcome or row.state)}{by}"
    progress.update(bars[row.device], total=expected, completed=done, state=state)
