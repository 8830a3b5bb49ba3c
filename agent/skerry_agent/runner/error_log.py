"""Logs what goes wrong with samples on standard error, without repeating a line a hundred times a second."""

import logging
import time

REPEAT_S = 60.0
_LOG = logging.getLogger(__name__)


class ErrorLog:
    """Logs a new line at once and the same line again only after `REPEAT_S`, with the number of lines left out."""

    def __init__(self) -> None:
        self._last = ""
        self._at = 0.0
        self._held_back = 0

    def log(self, error: Exception) -> None:
        """Log an error, or count it if it was just logged."""
        line, now = str(error), time.monotonic()
        if line == self._last and now - self._at < REPEAT_S:
            self._held_back += 1
            return
        again = f" ({self._held_back} more before)" if self._held_back else ""
        self._last, self._at, self._held_back = line, now, 0
        _LOG.warning("%s%s", line, again)
