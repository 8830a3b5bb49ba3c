"""Wakes a thread that polls, and remembers that no new work is to be accepted."""

import os
import time


class DrainSignal:
    """Each `wake` is one event of `fileno`, to be watched for edges. `ends_at` is on the monotonic clock."""

    def __init__(self) -> None:
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.ends_at = 0.0
        self.set = False

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._event

    def start(self, grace_s: float) -> None:
        """Drain from now on; idle connections have `grace_s` to send one more request."""
        self.ends_at = time.monotonic() + grace_s
        self.set = True
        self.wake()

    def wake(self) -> None:
        """Let one thread that polls look around."""
        os.eventfd_write(self._event, 1)

    def close(self) -> None:
        """Free the descriptor, once nobody polls any more."""
        os.close(self._event)
