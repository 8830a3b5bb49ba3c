"""A one-way signal that wakes every thread that polls it: no new work is to be accepted."""

import os
import time


class DrainSignal:
    """Readable for `poll` from the moment of `start`. Nobody reads the pipe, so that all who wait see it."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._until = 0.0
        self.set = False

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._read

    def start(self, grace_s: float) -> None:
        """Drain from now on; idle connections have `grace_s` to send one more request."""
        self._until = time.monotonic() + grace_s
        self.set = True
        os.write(self._write, b"!")

    @property
    def grace_left_s(self) -> float:
        """Seconds until idle connections are closed."""
        return max(0.0, self._until - time.monotonic())

    def close(self) -> None:
        """Free the descriptors, once nobody polls any more."""
        os.close(self._read)
        os.close(self._write)
