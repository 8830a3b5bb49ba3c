"""Runs the application in a thread of the serving process, on loopback. Knows nothing of what it serves."""

import socket
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Self

import uvicorn

from skerry_host.plane.broker import LOOPBACK
from skerry_host.plane.counters import Counters
from skerry_host.plane.errors import PlaneError
from skerry_host.plane.registry import Registry
from skerry_host.plane.web.app import application

STOP_S = 5.0


class WebServer:
    """The page while it is entered; `url` says where."""

    def __init__(self, registry: Registry, counters: Callable[[], Counters], port: int) -> None:
        self._socket = _listen(port)
        self.url = f"http://{LOOPBACK}:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(application(registry, counters), log_level="warning", access_log=False, lifespan="off")
        config.timeout_graceful_shutdown = 1
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="http")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(STOP_S)
        self._socket.close()


def _listen(port: int) -> socket.socket:
    """A listening socket, made here so that a taken port is a plain error before anything runs."""
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((LOOPBACK, port))
        opened.listen(64)
    except OSError as error:
        with closing(opened):
            hint = "choose another with --http-port, or --no-http"
            raise PlaneError(
                f"the page cannot use port {port}: {error.strerror}", hint=hint, code="port_taken"
            ) from None
    return opened
