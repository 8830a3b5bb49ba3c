"""Logs messages that are dropped: the first at once, then one line a minute for all that came since.

So neither strangers nor a device that sends nonsense can fill the log. Counts of everything are in `/metrics`.
"""

import logging
from collections.abc import Callable

from skerry_agent.wire.errors import SkerryError
from skerry_host.plane.every import Every

EVERY_S = 60.0
MESSAGES = ("a message", "messages")
MAX_NAMES = 1000
"""Senders that are told apart between two lines."""


class DropLog:
    """One kind of reason; `why` says it of messages, or of `what`: of one, and of several."""

    def __init__(
        self, log: logging.Logger, why: str, clock: Callable[[], float], what: tuple[str, str] = MESSAGES
    ) -> None:
        self._log, self._why, self._clock, self._what = log, why, clock, what
        self._saying = Every(EVERY_S)
        self._count = 0
        self._names: set[str] = set()

    def note(self, sender: str, detail: str = "") -> None:
        """A message was dropped; `detail` is of this one."""
        self._count += 1
        if len(self._names) < MAX_NAMES:
            self._names.add(sender)
        if self._saying.is_due(self._clock()):
            self._say(sender, detail)
            self._count, self._names = 0, set()

    def note_error(self, sender: str, error: Exception) -> None:
        """The same, because of an error that is no message's fault or was not expected: its kind is said, too."""
        said = str(error).partition("\n")[0]
        self.note(sender, said if isinstance(error, SkerryError) else f"{type(error).__name__}: {said}")

    def _say(self, sender: str, detail: str) -> None:
        senders = f"{len(self._names)}{' or more' if len(self._names) == MAX_NAMES else ''}"
        one, several = self._what
        of = f"{self._count} {several} from {senders} senders, the last from" if self._count > 1 else f"{one} from"
        self._log.warning("dropped, because %s: %s %s%s", self._why, of, sender, f": {detail}" if detail else "")
