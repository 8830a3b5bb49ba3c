"""Makes a telemetry report whenever an interval is over, and puts it into the outbox.

How long intervals are says `report_interval`, what is in a report `telemetry`; sending is up to `report_sender`.
"""

from collections.abc import Callable

from skerry_agent import log
from skerry_agent.ports.interfaces import Clock, Timer
from skerry_agent.supervisor.report_interval import ReportInterval
from skerry_agent.supervisor.report_sender import ReportSender
from skerry_agent.supervisor.telemetry import Telemetry
from skerry_agent.wire import codec


class TelemetryReports:
    """The intervals of a device, one after the other; `pids` are the runners that there are now."""

    def __init__(
        self,
        telemetry: Telemetry,
        sender: ReportSender,
        interval: ReportInterval,
        clock: Clock,
        pids: Callable[[], list[int]],
    ) -> None:
        self._telemetry, self._sender, self._interval = telemetry, sender, interval
        self._clock, self._pids = clock, pids
        self._next: Timer | None = None
        self._planned_s = 0.0
        self._said_dropped = 0

    def plan(self) -> None:
        """Plan the next report by the interval of now."""
        if self._next is not None:
            self._next.cancel()
        self._planned_s = self._interval.seconds
        self._next = self._clock.after(self._planned_s, self._due)

    def check(self, *, on_trial: bool) -> None:
        """End the interval at once where it has become shorter; call it every second or so."""
        if on_trial:
            self._interval.on_trial()
        if self._interval.seconds < self._planned_s:
            self._due()

    def watch(self, seconds: float) -> str:
        """Report often for some time, from now on."""
        seconds = self._interval.watch(seconds)
        if not seconds:
            return "it is watched no more"
        self._due()
        return f"it reports every {self._interval.seconds:g} s for {seconds:g} s"

    def put(self, most_quiet_s: float) -> None:
        """Report what there is; see `Telemetry.take`."""
        for report in self._telemetry.take(self._pids(), self._sender.dropped, most_quiet_s):
            self._sender.put(codec.encode(report))
        dropped = self._sender.dropped
        if dropped > self._said_dropped:
            log.warning("telemetry reports were dropped to make room", dropped=dropped - self._said_dropped)
            self._said_dropped = dropped

    def _due(self) -> None:
        self.plan()
        self.put(self._interval.most_quiet_s)
