"""The listening sockets of a server: accepts whoever waits at them, and pauses them while there is no room.

They are the supervisor's, and other runners may accept from them too: they are never closed or shut down here. Decides
nothing.
"""

import errno
import select
import socket
from collections.abc import Sequence

from skerry_agent.runner.error_log import ErrorLog

_ONCE = select.EPOLLIN | select.EPOLLONESHOT
_FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class NoRoomError(Exception):
    """The kernel has no descriptor or no memory for another connection."""


class NotListeningError(Exception):
    """The supervisor has not got the address yet."""


class Doors:
    """Listeners. The poller tells of each once, then not until `watch`."""

    def __init__(self, listeners: Sequence[socket.socket], poller: select.epoll) -> None:
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._poller = poller
        self._errors = ErrorLog()
        self._open = False
        self._again_at: dict[int, float] = {}

    def start(self) -> None:
        """Watch from now on."""
        self._open = True
        for file, listener in self._listeners.items():
            listener.setblocking(False)  # several processes wake for one connection: all but one find none
            self._poller.register(file, _ONCE)

    def stop(self) -> None:
        """Accept no more, for ever."""
        if self._open:
            self._open = False
            self._again_at.clear()
            for file in self._listeners:
                self._poller.unregister(file)

    def watch(self, file: int) -> None:
        """Tell again of who waits at a listener."""
        if self._open and file in self._listeners:
            self._poller.modify(file, _ONCE)

    def pause(self, file: int, until: float) -> None:
        """Leave who comes in the kernel's queue for a moment: to be told of them again at once would help nobody."""
        self._again_at[file] = until

    def reopen(self, now: float) -> None:
        """Watch again after a pause."""
        for file in [file for file, at in self._again_at.items() if now >= at]:
            del self._again_at[file]
            self.watch(file)

    @property
    def again_at(self) -> float | None:
        """When to `reopen` next, None when no listener is paused."""
        return min(self._again_at.values(), default=None)

    def accept(self, file: int) -> socket.socket | None:
        """Who waits at a listener, None when nobody does. Raises `NoRoomError`, `NotListeningError`."""
        listener = self._listeners.get(file)
        if listener is None or not self._open:
            return None
        try:
            return listener.accept()[0]
        except (BlockingIOError, ConnectionAbortedError):
            return None
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise NotListeningError from None
            self._errors.log(OSError(f"cannot accept a connection: {error}"))
            if error.errno in _FULL:
                raise NoRoomError from None
            return None
