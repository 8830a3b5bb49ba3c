"""Issues of the device as a whole that come and go: too low a supply voltage; and a log line for each of any kind.

Finds none but that one: the others are said by the parts of the supervisor and by the units.
"""

from collections.abc import Callable, Iterable

from skerry_agent import log
from skerry_agent.ports.interfaces import Clock

SUPPLY_S, SUPPLY_ISSUE_S = 5.0, 600.0


class SupplyIssue:
    """Says so while the supply voltage is too low, and for some time after: it is low in moments."""

    def __init__(
        self, undervoltage_since: Callable[[float], str | None], clock: Clock, changed: Callable[[], None]
    ) -> None:
        self.issue = ""
        self._undervoltage_since, self._clock, self._changed = undervoltage_since, clock, changed

    def watch(self) -> None:
        """Look every few seconds from now on; `changed` is called when the issue has come or gone."""
        self._clock.after(SUPPLY_S, self._look)

    def _look(self) -> None:
        self.watch()
        seen_by = self._undervoltage_since(self._clock.monotonic() - SUPPLY_ISSUE_S)
        within = f"within the last {SUPPLY_ISSUE_S / 60:.0f} minutes"
        before = self.issue
        self.issue = f"power_supply: the supply voltage was too low {within} ({seen_by})" if seen_by else ""
        if self.issue != before:
            self._changed()


class IssueLog:
    """A line of the log for each issue that has come, and for each that is over. `said` are those that are there."""

    def __init__(self) -> None:
        self.said: set[str] = set()

    def note(self, issues: Iterable[str], own_line: Iterable[str]) -> None:
        """These are the issues now; those in `own_line` are in the log already."""
        now = {*issues} - {*own_line}
        for issue in sorted(now - self.said):
            log.warning(f"issue: {issue}")
        for issue in sorted(self.said - now):
            log.info(f"issue is over: {issue}")
        self.said = now
