"""The trial of this agent, by itself: it is healthy once it has all that the one before it had.

Every model that served serves, a connection that there was is there again, and the broker has taken a reported state.
The launcher's watcher ends an agent that hangs or lacks something for too long; should that process be gone (a board
that wants memory kills some), an agent that still works gives up by itself a little later.
"""

from collections import deque
from collections.abc import Callable, Mapping

from skerry_agent.deployment.context import DeviceContext
from skerry_agent.deployment.unit import Unit
from skerry_agent.launch.table import Event, Healthy, Late, Trial, Waits
from skerry_agent.wire.plain_text import cleaned

LOOK_S = 1.0
STEADY_S = 3.0
"""So long nothing is lacking before it counts."""
TELL_S = 5.0
"""What is lacking is written down so often at most, for the report of a trial that fails."""
OVERDUE_S = 10.0
"""So long after its deadline a trial is over though the watcher has not ended it."""
MOST_CHARS = 300
MOST_SENT = 64
"""So many reports may be on their way at a time: one is sent each second, and a link may be slow."""


class AgentTrial:
    """Looks every second. `judged` gets what is to be written down: what it waits for, or that it is healthy.

    It says whether the trial is over by that.
    """

    def __init__(
        self, trial: Trial, context: DeviceContext, units: Mapping[str, Unit], judged: Callable[[Event], bool]
    ) -> None:
        self.trial, self.lacking = trial, "it has just started"
        self._context, self._units, self._judged = context, units, judged
        self._sent: deque[int] = deque(maxlen=MOST_SENT)
        self._confirmed = not trial.linked
        self._steady_since: float | None = None
        self._told, self._told_at = "", context.clock.monotonic()
        self._overdue_at = self._told_at + trial.deadline_s + OVERDUE_S
        self._context.clock.after(LOOK_S, self._look)

    def reported(self, token: int | None) -> None:
        """A reported state was sent; None while there is no connection."""
        if token is not None:
            self._sent.append(token)

    def acked(self, token: int) -> None:
        """The broker has taken a message."""
        self._confirmed = self._confirmed or token in self._sent

    def _look(self) -> None:
        now = self._context.clock.monotonic()
        self.lacking = self._lack()
        if self.lacking:
            self._steady_since = None
            self._tell(now)
            if now >= self._overdue_at and self._judged(Late()):
                return
        elif self._steady_since is None:
            self._steady_since = now
        elif now - self._steady_since >= STEADY_S and self._judged(Healthy(self.trial.agent.folder)):
            return
        self._again()

    def _again(self) -> None:
        self._context.clock.after(LOOK_S, self._look)

    def _tell(self, now: float) -> None:
        if self.lacking != self._told and now - self._told_at >= TELL_S:
            self._told, self._told_at = self.lacking, now
            self._judged(Waits(self.lacking))

    def _lack(self) -> str:
        """What the agent before this one had and this one has not yet; empty for nothing."""
        if self.trial.linked and not self._context.link.connected:
            return cleaned(f"no connection to the broker: {self._context.link.why_offline}", MOST_CHARS)
        for name in self.trial.serving:
            unit = self._units.get(name)
            if unit is not None and not serves(unit):  # one that is not there was taken off by the host
                return cleaned(unit.trouble or f"{name} is not served", MOST_CHARS)
        return "" if self._confirmed else "the broker has not taken a report"


def serves(unit: Unit) -> bool:
    """Whether a model answers now."""
    return any(service is not None and service.accepting for service in (unit.current, unit.candidate))
