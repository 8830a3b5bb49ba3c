"""Runs an ASGI application in a thread of the serving process. Knows nothing of what it serves."""

import errno
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Self

import uvicorn
from starlette.applications import Starlette

from skerry_host.plane.broker.port_holder import holder
from skerry_host.plane.errors import PlaneError
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.views.counters import Counters
from skerry_host.plane.web.app import application
from skerry_host.plane.web.connections import BoundedConnection

LOOPBACK = "127.0.0.1"
STOP_S = 5.0
BACKLOG = 64
"""So many are let in at once, before any of those that are too many can be ended."""


class Server:
    """An application while it is entered; `url` says where."""

    def __init__(self, served: Starlette, host: str, port: int) -> None:
        self._socket = _listen(host, port)
        self.url = f"http://{host}:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(served, http=BoundedConnection, log_level="warning", access_log=False, lifespan="off")
        config.timeout_graceful_shutdown = 1
        config.backlog = BACKLOG
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="http")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(STOP_S)
        self._socket.close()


class WebServer(Server):
    """The page, on loopback."""

    def __init__(
        self, registry: Registry, counters: Callable[[], Counters], port: int, counted: Path | None = None
    ) -> None:
        super().__init__(application(registry, counters, counted=counted), LOOPBACK, port)


def require_free(port: int) -> None:
    """Raise `PlaneError` at once where the page could not be served later, when a broker runs already."""
    _listen(LOOPBACK, port).close()


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, made here so that a taken port is a plain error before anything runs."""
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
        opened.listen(BACKLOG)
    except OSError as error:
        with closing(opened):
            hint = "choose another with --http-port or --blobs, or --no-http"
            who = holder(port) if error.errno == errno.EADDRINUSE else None
            why = f"is used by {who}" if who else f"cannot be used: {error.strerror}"
            raise PlaneError(f"port {port} {why}", hint=hint, code="port_taken") from None
    return opened
