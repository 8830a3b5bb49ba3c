"""A plane that is turning in this process, over a real broker. No tests here."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from skerry_host.home import Home
from skerry_host.plane.broker.broker import choose
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.service import Service


@contextmanager
def served(home: Home, registry: Registry, port: int) -> Iterator[Service]:
    """The service of a home over the broker at `port`, until the end."""
    with choose(home.broker, f"mqtt://127.0.0.1:{port}", 0) as chosen, Service(home, registry, chosen) as service:
        turning = threading.Thread(target=service.run)
        turning.start()
        try:
            yield service
        finally:
            service.stop()
            turning.join()
