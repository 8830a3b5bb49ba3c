"""Has a model's factory release verified when nothing else can serve, or on request; one search at a time.

Decides nothing: a verified factory release is an event for the update machine; otherwise `issue` says why there is
none.
"""

from collections.abc import Callable

from skerry_agent.deployment.context import DeviceContext
from skerry_agent.machine.records import Slot
from skerry_agent.ports.jobs import Answer, FactoryJob, FactoryReady, Refusal
from skerry_agent.state.disk import DiskError
from skerry_agent.wire.targets import TargetName


class FactorySearch:
    """The search for one model's factory release."""

    def __init__(self, model: str, context: DeviceContext) -> None:
        self.issue: str | None = None
        self.busy = False
        self._model, self._context = model, context
        self._cancel: Callable[[], None] | None = None

    def begin(self, failing: Slot | None, found: Callable[[Slot], None], *, report_missing: bool = True) -> None:
        """Look for it, beside a current slot that fails if there is one; `found` is called with what is verified.

        `report_missing`: finding none is an issue.
        """
        factory = self._context.folders.factory
        release = factory.release(self._model)
        if release is None:
            missing = f"{self._model} has no usable factory release; it will serve again after its next order"
            self.issue = missing if report_missing or self._model in factory.models() else None
        elif not self.busy and (targets := self._untried(failing)):
            self._verify(release, targets, found)

    def stop(self) -> None:
        """Look no longer."""
        if self._cancel is not None:
            self._cancel()
        self.busy = False

    def _untried(self, failing: Slot | None) -> tuple[TargetName, ...]:
        """All targets of the board but the one whose factory bundle fails although it is what was verified."""
        targets = self._context.config.board.targets
        if failing is None or not failing.factory:
            return targets
        try:
            self._context.folders.read(failing)
        except DiskError:
            return targets
        return tuple(target for target in targets if target != failing.target)

    def _verify(self, release: str, targets: tuple[TargetName, ...], found: Callable[[Slot], None]) -> None:
        def answered(answer: Answer) -> None:
            self.busy = False
            match answer:
                case FactoryReady():
                    self.issue = None
                    found(answer.slot)
                case Refusal():
                    self.issue = f"the factory release {release} cannot serve: {answer.reason}: {answer.detail}"
                    self._context.changed()

        self.busy = True
        folder = self._context.folders.factory.root / self._model
        self._cancel = self._context.processes.run_updater(FactoryJob(self._model, str(folder), targets), answered)
