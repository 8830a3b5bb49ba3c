"""Fetches what an upgrade of the agent needs: its manifest, then the wheelhouse that the updater has chosen."""

from collections.abc import Callable
from pathlib import Path

from skerry_agent.deployment.context import DeviceContext
from skerry_agent.deployment.transfer import Transfer
from skerry_agent.machine.events import Event
from skerry_agent.machine.records import Deployment
from skerry_agent.ports.jobs import PlanAgent, UpdaterJob


class AgentTransfer(Transfer):
    """As that of a model's deployment, hours, budget and resumption included; only the plan is another one."""

    def __init__(
        self, context: DeviceContext, deployment: Deployment, root: Path, handle: Callable[[Event], None]
    ) -> None:
        super().__init__(context, deployment, {}, handle)
        self._root = root

    def _plan_job(self) -> UpdaterJob:
        deployment = self._deployment
        manifest = str(self._context.blobs.path(deployment.manifest.sha256))
        return PlanAgent(deployment.release, manifest, str(self._root))
