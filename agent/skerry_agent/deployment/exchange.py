"""Another runner of the current bundle takes over from the one that serves, under other settings: no request is lost.

The one before goes on until the other accepts requests; if that never comes to it, it stays. Decides neither when nor
what is said of a failure. A bundle for an accelerator that admits one process has no such second runner.
"""

from collections.abc import Callable

from skerry_agent.deployment.launcher import Launcher, unusable
from skerry_agent.deployment.service import Service, ServiceCallbacks
from skerry_agent.machine.records import Slot
from skerry_agent.ports.runner_protocol import Heartbeat
from skerry_agent.state.disk import DiskError


class Exchange:
    """The exchange of one model's runner. `wanted`: it has yet to begin; `failure`: why the other did not take over.

    `anew`: also where the other is told just what the one before was, to see whether it starts under other limits.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self.wanted = self.anew = False
        self.failure: tuple[str, str] | None = None
        self._service: Service | None = None

    @property
    def under_way(self) -> bool:
        """Whether the runner that serves is not the one that is wanted."""
        return self.wanted or self._service is not None

    def ask(self, *, anew: bool = False) -> None:
        """Exchange the runner as soon as that can be."""
        self.drop()
        self.wanted, self.anew, self.failure = True, anew, None

    def begin(self, slot: Slot, took_over: Callable[[Service], None], heartbeat: Callable[[Heartbeat], None]) -> None:
        """Start the other runner; `took_over` is called once it accepts requests."""
        self.wanted = False

        def ready() -> None:
            if self._service is not None:
                self._service.accept()

        def accepting() -> None:
            service, self._service = self._service, None
            if service is not None:
                took_over(service)

        callbacks = ServiceCallbacks(ready=ready, accepting=accepting, heartbeat=heartbeat, failed=self._failed)
        try:
            self._service = self._launcher.start(slot, callbacks, committed=True)
        except DiskError as error:
            self.failure = unusable(error), str(error)

    def _failed(self, reason: str, detail: str) -> None:
        self._service, self.failure = None, (reason, detail)

    def drop(self) -> None:
        """It is of no use any more: what starts next starts under the settings of now."""
        self.wanted = False
        service, self._service = self._service, None
        if service is not None:
            self._launcher.stop(service)
