"""Tells systemd that the supervisor is ready and alive (sd_notify(3)). Does nothing unless systemd asks for it.

A supervisor whose loop hangs sends nothing, and systemd restarts it.
"""

import contextlib
import os
import socket
from collections.abc import Mapping

from skerry_agent.ports.interfaces import Clock


class Notifier:
    """Speaks to the socket that the environment names."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._interval_s = int(environment.get("WATCHDOG_USEC", "0")) / 2e6

    def begin(self, clock: Clock) -> None:
        """Say that the agent is ready; from now on show in time that its loop turns."""
        self._say("READY=1")
        if self._interval_s and self._address:
            self._turn(clock)

    def _turn(self, clock: Clock) -> None:
        self._say("WATCHDOG=1")
        clock.after(self._interval_s, lambda: self._turn(clock))

    def _say(self, what: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door, contextlib.suppress(OSError):
            # whoever listened is gone or busy: an agent must not end for want of an audience
            door.connect(self._address)
            door.send(what.encode())
