"""How long the interval of a telemetry report is: short while somebody watches or a deployment is on trial. Sends none.

What shortens it ends by itself: a watch when its time is over, a trial `AFTER_TRIAL_S` after its end, so that the first
minutes of a release can be compared with those of the one before. A restart ends both.
"""

from collections.abc import Callable

from skerry_agent.config import AgentSection

METERED_INTERVALS = 20
"""On a metered link a report covers so many intervals; each costs some 200 bytes beside its own."""

AFTER_TRIAL_S = 300.0
MAX_WATCH_S = 3600.0
QUIET_S, QUIET_INTERVALS = 600.0, 10
"""The longest report of a device that does nothing."""


class ReportInterval:
    """Says how long intervals are now; `monotonic` is the clock that no one can set."""

    def __init__(self, section: AgentSection, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._watched_until = self._on_trial_until = 0.0
        self.use(section)

    def use(self, section: AgentSection) -> None:
        """Go by these values from now on."""
        self._usual_s = section.telemetry_interval_s * (METERED_INTERVALS if section.metered else 1)
        self._live_s = min(section.live_interval_s, self._usual_s)
        self._after_trial_s = 0.0 if section.metered else AFTER_TRIAL_S

    @property
    def live(self) -> bool:
        """Whether intervals are short now."""
        return self._monotonic() < max(self._watched_until, self._on_trial_until)

    @property
    def seconds(self) -> float:
        """The interval now."""
        return self._live_s if self.live else self._usual_s

    @property
    def most_quiet_s(self) -> float:
        """Up to how long quiet intervals may become one."""
        return 0.0 if self.live else min(QUIET_S, QUIET_INTERVALS * self._usual_s)

    def watch(self, seconds: float) -> float:
        """Short intervals for some time from now on, 0 to end them; returns for how long."""
        seconds = min(seconds, MAX_WATCH_S)
        self._watched_until = self._monotonic() + seconds
        return seconds

    def on_trial(self) -> None:
        """A deployment is on trial at this moment; call it every second or so while it is."""
        self._on_trial_until = self._monotonic() + max(2.0, self._after_trial_s)
