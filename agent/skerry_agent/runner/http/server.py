"""Accepts connections from listening sockets that several runner processes share, and hands each to a thread.

What no runner has accepted stays in the kernel's queue for the next one, so that nothing is lost while one stops
accepting before or after another starts. The listeners are the supervisor's: they are never closed or shut down here.
"""

import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence

from skerry_agent.runner.http.connection import Connection
from skerry_agent.runner.http.drain import DrainSignal
from skerry_agent.runner.http.routes import Routes

MAX_CONNECTIONS = 64
"""Threads at most; further clients wait in the kernel's queue."""
_FULL_S = 0.05
_LOG = logging.getLogger(__name__)


class Server:
    """Serves one model from `start` until `drain` returns. Not to be started again.

    `routes` makes the routes from what tells them whether new work is welcome.
    """

    def __init__(self, listeners: Sequence[socket.socket], routes: Callable[[Callable[[], bool]], Routes]) -> None:
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._drain = DrainSignal()
        self._routes = routes(lambda: not self._drain.set)
        self._open = 0
        self._changed = threading.Condition()
        self._acceptor = threading.Thread(target=self._accept_all, name="acceptor", daemon=True)

    def start(self) -> None:
        """Accept from now on."""
        for listener in self._listeners.values():
            listener.setblocking(False)  # several processes wake for one connection: all but one find none
        self._acceptor.start()

    def drain(self, grace_s: float) -> None:
        """Accept no more; return when every open connection has been answered and closed."""
        self._drain.start(grace_s)
        self._acceptor.join()
        with self._changed:
            self._changed.wait_for(lambda: not self._open)
        self._drain.close()

    def _accept_all(self) -> None:
        poller = select.poll()
        for file in (*self._listeners, self._drain.fileno()):
            poller.register(file, select.POLLIN)
        while not self._drain.set:
            ready = poller.poll()
            for file, _ in ready:
                if file in self._listeners and self._has_room() and not self._drain.set:
                    self._accept_one(self._listeners[file])

    def _has_room(self) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._open < MAX_CONNECTIONS, timeout=_FULL_S)

    def _accept_one(self, listener: socket.socket) -> None:
        try:
            peer, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # out of descriptors: the client waits in the queue until some are free
            _LOG.warning("cannot accept a connection: %s", error)
            time.sleep(_FULL_S)
            return
        with self._changed:
            self._open += 1
        threading.Thread(target=self._serve, args=(peer,), name="connection", daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        try:
            Connection(peer, self._routes.answer, self._routes.max_body_bytes, self._drain).serve()
        finally:
            with self._changed:
                self._open -= 1
                self._changed.notify_all()
