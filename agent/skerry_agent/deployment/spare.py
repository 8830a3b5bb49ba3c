"""Serves a model from its slot's spare while the accelerator cannot be used, and takes that again as soon as it can.

The slot stays what it is, and so does the journal: only which of its two bundles a runner loads is decided here. The
accelerator is looked at in a process of its own, with pauses, and at once when the kernel shows a device that was not
there; then a runner loads the slot's own bundle beside the one that serves, proves its golden inputs, and takes over.
"""

from collections.abc import Callable

from msgspec import Struct

from skerry_agent import log
from skerry_agent.deployment import causes
from skerry_agent.deployment.context import DeviceContext
from skerry_agent.deployment.launcher import Launcher, exclusive
from skerry_agent.deployment.service import Service, ServiceCallbacks
from skerry_agent.machine.records import Slot
from skerry_agent.ports.interfaces import AcceleratorLook, Timer
from skerry_agent.state.disk import DiskError

POLL_S = 2.0
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 60.0


class SpareCallbacks(Struct, frozen=True):
    """What its owner decides: `resting` is the slot that serves from its spare while nothing else is under way.

    `taken`: a runner of the slot's own bundle has taken over. `changed`: why it serves from its spare has changed.
    """

    resting: Callable[[], Slot | None]
    taken: Callable[[Slot, Service], None]
    changed: Callable[[], None]


class SpareService:
    """`lack` is why the accelerator cannot be used, (reason, detail); None while it can, as far as is known."""

    def __init__(self, context: DeviceContext, launcher: Launcher, callbacks: SpareCallbacks) -> None:
        self.lack: causes.Failure | None = None
        self._context, self._launcher, self._callbacks = context, launcher, callbacks
        self._trial: Service | None = None
        self._timer: Timer | None = None
        self._due, self._pause_s = 0.0, FIRST_PAUSE_S
        self._present: tuple[str, ...] = ()
        self._looking = False

    def serving(self, slot: Slot) -> Slot:
        """The slot as it is to be served now."""
        return slot.on_spare() if self.lack is not None and exclusive(slot) else slot

    def covers(self, slot: Slot | None, reason: str, detail: str) -> bool:
        """Whether the spare serves in the place of a bundle that has failed so; from now on it does."""
        if slot is None or slot.spare is None or reason not in causes.WITHOUT_ACCELERATOR:
            return False
        if slot.spare.target not in self._context.config.board.targets:
            return False
        self._begin(reason, detail)
        return True

    def end(self) -> None:
        """The accelerator is used again, or not needed."""
        self.pause()
        self.lack = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pause(self) -> None:
        """Somebody else needs the accelerator, or nothing is to be served: give up what was tried."""
        trial, self._trial = self._trial, None
        if trial is not None:
            self._launcher.stop(trial)

    def _begin(self, reason: str, detail: str) -> None:
        self._note(reason, detail)
        now = self._context.clock.monotonic()
        self._pause_s, self._due = FIRST_PAUSE_S, now + FIRST_PAUSE_S
        self._present = self._context.accelerator.present()
        if self._timer is None:
            self._timer = self._context.clock.after(POLL_S, self._poll)

    def _note(self, reason: str, detail: str) -> None:
        """The first words for a reason stay: those of a runner say more than those of a look."""
        if self.lack is None or self.lack[0] != reason:
            self.lack = (reason, detail)
            self._context.accelerator.fails(reason)
            self._callbacks.changed()

    def _poll(self) -> None:
        self._timer = self._context.clock.after(POLL_S, self._poll)
        before, self._present = self._present, self._context.accelerator.present()
        came = set(self._present) - set(before)
        due = self._context.clock.monotonic() >= self._due
        if (came or due) and self._trial is None and not self._looking and self._slot() is not None:
            self._looking = True
            self._context.accelerator.look(self._looked)

    def _slot(self) -> Slot | None:
        """The slot whose own bundle may be tried now."""
        slot = self._callbacks.resting() if self.lack is not None else None
        if slot is None or self._launcher.hung(slot) is not None or self._launcher.must_wait(slot):
            return None
        return slot

    def _looked(self, found: AcceleratorLook) -> None:
        """The next time is later whatever comes of it; a library that finds nothing spares a runner's start."""
        self._looking = False
        self._due = self._context.clock.monotonic() + self._pause_s
        self._pause_s = min(LAST_PAUSE_S, 2 * self._pause_s)
        slot = self._slot()
        if slot is None or self._trial is not None:
            return
        if found.problem:
            self._note(found.problem, found.detail)
            return
        log.info(f"{slot.release}: the accelerator is tried again", release=slot.release, target=slot.target)
        callbacks = ServiceCallbacks(
            ready=self._ready, accepting=lambda: self._taken(slot), heartbeat=lambda _beat: None, failed=self._failed
        )
        try:
            self._trial = self._launcher.start(slot, callbacks, committed=False)
        except DiskError as error:
            self._note("bundle_unreadable", str(error))

    def _ready(self) -> None:
        if self._trial is not None:
            self._trial.accept()

    def _taken(self, slot: Slot) -> None:
        service, self._trial = self._trial, None
        if service is not None:
            self.end()
            self._callbacks.taken(slot, service)

    def _failed(self, reason: str, detail: str) -> None:
        """It stays with the spare, and tries again later, whatever was wrong with it."""
        if self._trial is not None:
            self._trial = None
            self._note(reason, detail)
