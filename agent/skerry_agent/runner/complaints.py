"""Says on standard error what goes wrong with samples, and does not say it a hundred times a second."""

import logging
import time

REPEAT_S = 60.0
_LOG = logging.getLogger(__name__)


class Complaints:
    """Each different line at once, the same line again only after `REPEAT_S`; how many were held back is said then."""

    def __init__(self) -> None:
        self._last = ""
        self._at = 0.0
        self._held_back = 0

    def say(self, error: Exception) -> None:
        """Log an error, or count it if it was just said."""
        line, now = str(error), time.monotonic()
        if line == self._last and now - self._at < REPEAT_S:
            self._held_back += 1
            return
        again = f" ({self._held_back} more before)" if self._held_back else ""
        self._last, self._at, self._held_back = line, now, 0
        _LOG.warning("%s%s", line, again)
