"""Says every few seconds that this plane serves the registry, in a thread of its own, so that long work does not silence it.

Starts no plane and stops none; that there is only one is held here and, within a home, by its lock (`service`).
"""

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Self

from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from skerry_host.plane.errors import PlaneError
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import heartbeats
from skerry_host.plane.registry.records.heartbeats import Heartbeat
from skerry_host.plane.views import plane_state

BEAT_S = 3.0
WAIT_S = plane_state.DEAD_S + BEAT_S

log = logging.getLogger(__name__)


class Identity(Struct, frozen=True):
    """This process, as others may know it."""

    instance: str
    pid: int
    host: str
    boot: str
    version: str


def this_process() -> Identity:
    """With an instance that is new at each call."""
    try:
        installed = version("skerry-host")
    except PackageNotFoundError:  # run from a checkout
        installed = "unknown"
    return Identity(secrets.token_hex(8), os.getpid(), socket.gethostname(), plane_state.this_boot(), installed)


class HeartbeatWriter:
    """Renews the heartbeat while it is entered; `ticked` is to be called whenever the plane's loop has turned."""

    def __init__(self, registry: Registry, clock: Callable[[], float], beat_s: float = BEAT_S) -> None:
        self._registry, self._clock, self._beat_s = registry, clock, beat_s
        self._me = this_process()
        self._ticked = clock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def ticked(self) -> None:
        """The loop has turned."""
        self._ticked = self._clock()

    def __enter__(self) -> Self:
        with _without_failing():
            self._store()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        with _without_failing(), self._registry.write() as session:
            heartbeats.stop(session, self._me.instance, self._clock())

    def _run(self) -> None:
        while not self._ending.wait(self._beat_s):
            with _without_failing():
                self._renew()

    def _renew(self) -> None:
        with self._registry.write() as session:
            mine = heartbeats.renew(session, self._me.instance, self._clock(), self._ticked)
        if not mine:  # a backup was restored, or another plane has come
            log.warning("the heartbeat in the registry was another's, and is taken over")
            self._store()

    def _store(self) -> None:
        now, me = self._clock(), self._me
        beat = Heartbeat(now, self._ticked, now, None, me.instance, me.pid, me.host, me.boot, me.version)
        with self._registry.write() as session:
            heartbeats.store(session, beat)


@contextmanager
def _without_failing() -> Iterator[None]:
    """A registry that is locked or full for now costs a heartbeat and no more."""
    try:
        yield
    except (SQLAlchemyError, PlaneError) as error:
        log.warning("no heartbeat: %s", str(error).splitlines()[0])


def require_no_other(
    registry: Registry, clock: Callable[[], float] = time.time, wait: Callable[[float], object] = time.sleep
) -> None:
    """Raise `PlaneError` when another plane serves this registry; waits some seconds for one that may have died."""
    first = _living(registry, clock())
    end = clock() + WAIT_S
    if first is not None and first.pid != os.getpid():
        log.warning("process %s on %s may still serve this registry: waiting for its next heartbeat", *_who(first))
    while (other := _living(registry, clock())) is not None and first is not None and clock() < end:
        if other.at != first.at:
            hint = "stop that one first"
            pid, host = _who(other)
            raise PlaneError(f"process {pid} on {host} already serves this registry", hint=hint, code="serving")
        wait(0.5)


def _living(registry: Registry, now: float) -> Heartbeat | None:
    with registry.read() as session:
        beat = heartbeats.find(session)
    state = plane_state.judge(beat, now, plane_state.process_exists).state
    return beat if state in {"running", "hanging"} else None


def _who(beat: Heartbeat) -> tuple[int, str]:
    return beat.pid, beat.host
