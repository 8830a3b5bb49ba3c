"""Bounds the connections of an HTTP server: whoever holds many open would else take all files that the plane may open.

Where there are too many, the oldest of those without a request gives way, so one who asks nothing keeps nobody out;
where all are being answered, the new one does. Knows nothing of what is served.
"""

from asyncio import BaseTransport
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 256
"""Of one server. A download has a file open beside its socket, and the broker's client library knows only 1,024."""


class BoundedConnection(H11Protocol):
    """One of at most `MOST` of its server."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.opened = self.loop.time()

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin, and end the one that gives way."""
        super().connection_made(cast("Any", transport))
        if len(self.connections) > MOST:
            others = (each for each in self.connections if isinstance(each, BoundedConnection) and each is not self)
            leaving = min((each for each in others if each.is_idle), key=lambda each: each.opened, default=self)
            self.connections.discard(leaving)
            leaving.transport.abort()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being answered; a request that has not come whole counts as none."""
        return self.cycle is None or bool(self.cycle.response_complete)
