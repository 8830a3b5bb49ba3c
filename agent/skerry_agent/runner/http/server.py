"""Accepts connections from a listening socket that several runner processes share, and hands each to a thread.

What no runner has accepted stays in the kernel's queue for the next one, so that nothing is lost while one stops
accepting before or after another starts. The listener belongs to the supervisor: it is never closed or shut down here.
"""

import logging
import select
import socket
import threading
import time

from skerry_agent.runner.http.connection import Connection
from skerry_agent.runner.http.drain import DrainSignal
from skerry_agent.runner.http.routes import Routes, Served

MAX_CONNECTIONS = 64
"""Threads at most; further clients wait in the kernel's queue."""
_FULL_S = 0.05
_LOG = logging.getLogger(__name__)


class Server:
    """Serves one model from `start` until `drain` returns. Not to be started again."""

    def __init__(self, listener: socket.socket, served: Served) -> None:
        self._listener = listener
        self._drain = DrainSignal()
        self._routes = Routes(served, lambda: not self._drain.set)
        self._open = 0
        self._changed = threading.Condition()
        self._acceptor = threading.Thread(target=self._accept_all, name="acceptor", daemon=True)

    def start(self) -> None:
        """Accept from now on."""
        self._listener.setblocking(False)  # several processes wake for one connection: all but one find none
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
        poller.register(self._listener, select.POLLIN)
        poller.register(self._drain, select.POLLIN)
        while not self._drain.set:
            if self._has_room():
                poller.poll()
                self._accept_one()

    def _has_room(self) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._open < MAX_CONNECTIONS, timeout=_FULL_S)

    def _accept_one(self) -> None:
        if self._drain.set:
            return
        try:
            peer, _ = self._listener.accept()
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
