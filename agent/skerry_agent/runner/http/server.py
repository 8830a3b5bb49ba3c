"""Serves the clients of one model: many connections, few threads, requests in the order in which they have arrived.

All threads wait for the kernel, which wakes one for each event. It accepts, reads or sends as far as that goes at
once, and answers the request that this completes; but the last one that is free only goes on so, and further requests
wait in line. So what needs no model, health above all, is answered while the model is busy or hangs, and nobody is
served twice before another who waits is served once. Who has to leave, and when, is decided in
`skerry_agent.runner.http.crowd`.

What no runner has accepted stays in the kernel's queue for the next one, so that nothing is lost while one stops
accepting before or after another starts.
"""

import contextlib
import logging
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Protocol

from skerry_agent.runner.http.connection import Connection
from skerry_agent.runner.http.connections import Connections
from skerry_agent.runner.http.crowd import Limits, Phase
from skerry_agent.runner.http.doors import Doors, NoRoomError, NotListeningError
from skerry_agent.runner.http.drain import DrainSignal
from skerry_agent.runner.http.line import Job, Line
from skerry_agent.runner.http.messages import Request, RequestError, Response, json_response

THREADS = 4
"""One infers, one reads the JSON of the next request, one writes an answer, one looks after all others."""
_READS = 16
"""How often one connection is read before others have their turn."""
_ACCEPTS = _EVENTS = 64
"""How many clients are accepted or looked at before others have their turn."""
_PAUSE_S, _NOT_LISTENING_S = 0.1, 1.0
INSTANT = {"GET", "HEAD"}
"""What needs no model."""
_SILENT = {Phase.SILENT, Phase.IDLE}
_LOG = logging.getLogger(__name__)


class Handler(Protocol):
    """What answers requests, in any thread; those of `INSTANT` methods at once."""

    @property
    def max_body_bytes(self) -> int:
        """Larger bodies are refused before they are read."""

    def answer(self, request: Request) -> Response:
        """The response to a request, also to a wrong one."""


class Server:
    """Serves one model from `start` until `drain` returns. Not to be started again.

    `routes` makes what answers, from what tells them whether new work is welcome. `wrap` makes a TLS socket of one that
    was accepted over TCP.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        routes: Callable[[Callable[[], bool]], Handler],
        limits: Limits | None = None,
        wrap: Callable[[socket.socket], socket.socket] | None = None,
    ) -> None:
        self._wrap = wrap
        self._signal = DrainSignal()
        self._routes = routes(lambda: not self._signal.set)
        self._poller = select.epoll()
        self._poller.register(self._signal, select.EPOLLIN | select.EPOLLET)
        self._doors = Doors(listeners, self._poller)
        self._connections = Connections(self._poller, limits or Limits())
        self._ready: deque[Connection] = deque()
        self._line = Line(THREADS - 1)
        self._turning = threading.Lock()
        self._ending = False
        self._threads = [threading.Thread(target=self._work, name="http", daemon=True) for _ in range(THREADS)]

    def start(self) -> None:
        """Accept from now on."""
        self._doors.start()
        for thread in self._threads:
            thread.start()

    def drain(self, grace_s: float) -> None:
        """Accept no more; return when every open connection has been answered and closed."""
        self._signal.start(grace_s)
        for thread in self._threads:
            thread.join()
        self._poller.close()
        self._signal.close()

    def _work(self) -> None:
        while (job := self._next_job()) is not None:
            while job is not None:
                one, request = job
                goes_on = self._answer(one, request)
                job = self._line.next()
                if goes_on and (job is None or one.pending):
                    self._ready.append(one)
                elif goes_on:
                    self._connections.wait_for(one, Phase.IDLE)
                if job is not None and self._ready:
                    self._signal.wake()

    # -- one thread at a time: all connections -------------------------------------------------------------------------

    def _next_job(self) -> Job | None:
        """Turn until there is a job for this thread; None when the server has drained."""
        events: list[tuple[int, int]] = []
        while True:
            with self._turning:
                job = self._turn_all(events)
                if job is not None:
                    return job
                timeout_s = 0.0 if self._ready else self._connections.timeout_s(monotonic())
                if self._signal.set or timeout_s == 0 or self._doors.again_at is not None or self._connections.crowded:
                    self._look_after(monotonic())
                    if self._ending and not len(self._connections):
                        self._signal.wake()
                        return None
                    timeout_s = self._shorter_s(self._connections.timeout_s(monotonic()))
            events = self._poller.poll(timeout_s, _EVENTS)

    def _turn_all(self, events: list[tuple[int, int]]) -> Job | None:
        for file, _ in events:
            one = self._connections.find(file)
            if one is not None:
                self._ready.append(one)
            elif file != self._signal.fileno():
                self._accept(file)
        for _ in range(len(self._ready)):
            job = self._turn(self._ready.popleft())
            if job is not None:
                if self._ready:
                    self._signal.wake()
                return job
        return None

    def _look_after(self, now: float) -> None:
        """See to what is over time, and to who waits for room."""
        if self._signal.set and not self._ending:
            self._ending = True
            self._doors.stop()
            self._connections.end(self._signal.ends_at)
        for one, phase in self._connections.expired(now):
            self._end(one, phase)
        for one in self._connections.dawdling(now):
            self._give_up(one)
        while (held := self._connections.next_held()) is not None:
            self._ready.append(held)
        self._doors.reopen(now)

    def _shorter_s(self, timeout_s: float | None) -> float | None:
        """A timeout that does not pass over what `_look_after` has found."""
        again_at = 0.0 if self._ready else self._doors.again_at
        if again_at is None:
            return timeout_s
        again_s = max(0.0, again_at - monotonic())
        return again_s if timeout_s is None else min(again_s, timeout_s)

    def _accept(self, file: int) -> None:
        """Take those who wait at a listener, as long as there is room for them or somebody gives way."""
        for _ in range(_ACCEPTS):
            if self._connections.full and self._connections.giving_way() is None:
                return self._doors.pause(file, monotonic() + _PAUSE_S)
            try:
                peer = self._doors.accept(file)
            except NoRoomError:
                if self._make_room():
                    continue
                return self._doors.pause(file, monotonic() + _PAUSE_S)
            except NotListeningError:
                return self._doors.pause(file, monotonic() + _NOT_LISTENING_S)
            if peer is None:
                break
            crowded = self._connections.full and not self._make_room()
            self._welcome(peer)
            if crowded:  # all who seemed idle have asked for something: see to that first
                break
        return self._doors.watch(file)

    def _welcome(self, peer: socket.socket) -> None:
        try:
            if self._wrap is not None and peer.family != socket.AF_UNIX:
                peer = self._wrap(peer)
            one = Connection(peer, self._routes.max_body_bytes)
        except OSError:  # gone already, or there is no certificate for it
            peer.close()
            return
        self._connections.add(one)

    def _make_room(self) -> bool:
        """Close the connection that gives way, if there is one."""
        while (found := self._connections.giving_way()) is not None:
            one, phase = found
            if phase not in _SILENT or not self._asks_after_all(one):
                self._connections.close(one)
                return True
        return False

    def _asks_after_all(self, one: Connection) -> bool:
        """Whether a silent connection has sent something that nobody has seen yet."""
        with contextlib.suppress(OSError):
            if one.receive():
                self._connections.enter(one, Phase.ARRIVING)
                self._ready.append(one)
                return True
        return False

    def _end(self, one: Connection, phase: Phase) -> None:
        """The time of a connection is over."""
        if phase in {Phase.ARRIVING, Phase.HELD}:
            self._give_up(one)
        elif phase not in _SILENT:
            self._connections.close(one)
        elif not self._asks_after_all(one):
            self._close_gently(one)

    def _give_up(self, one: Connection) -> None:
        self._reply(one, RequestError(408, "the request has taken too long to arrive").response, close=True)

    # -- one thread at a time: one connection --------------------------------------------------------------------------

    def _turn(self, one: Connection) -> Job | None:
        """Do what a connection is ready for."""
        phase = self._connections.phase(one)
        try:
            if phase is Phase.TAKING:
                if self._send(one):
                    self._ready.append(one)
            elif phase is Phase.CLOSING:
                self._linger(one)
            elif phase in _SILENT or phase is Phase.ARRIVING:
                return self._read(one)
        except OSError:  # nobody is left to tell
            self._connections.close(one)
        except Exception:  # noqa: BLE001 - a bug, or no memory: what one client sends must not end the model for all
            _LOG.exception("a connection was closed")
            self._connections.close(one)
        return None

    def _read(self, one: Connection) -> Job | None:
        """Read until there is a request, or nothing more for now."""
        try:
            request = one.request() if one.pending else None
            for _ in range(_READS):
                if request is not None:
                    break
                if one.in_body and not self._connections.take_place(one):
                    return None
                more = one.receive()
                request = one.request()
                if request is None and not more:
                    self._connections.close(one)
                    return None
            if request is not None:
                return self._dispatch(one, request)
            self._connections.enter(one, Phase.ARRIVING)
            self._ready.append(one)
        except BlockingIOError:
            self._await_rest(one)
        except RequestError as error:
            if self._reply(one, error.response):
                self._ready.append(one)
        return None

    def _await_rest(self, one: Connection) -> None:
        phase = self._connections.phase(one)
        assert phase is not None
        self._connections.wait_for(one, Phase.ARRIVING if one.pending else phase)

    def _dispatch(self, one: Connection, request: Request) -> Job | None:
        """Answer at once what needs no model; a job for this thread, unless no other is free to lead."""
        self._connections.enter(one, Phase.SERVED)
        if request.method not in INSTANT:
            return self._line.take((one, request))
        if self._answer(one, request):
            self._ready.append(one)
        return None

    def _linger(self, one: Connection) -> None:
        """Take what the peer still sends, until it closes."""
        with contextlib.suppress(BlockingIOError):
            if not one.discard():
                self._connections.close(one)
                return
        self._connections.wait_for(one, Phase.CLOSING)

    # -- any thread that has the connection in hand --------------------------------------------------------------------

    def _answer(self, one: Connection, request: Request) -> bool:
        """As `_send`."""
        try:
            response, failed = self._routes.answer(request), False
        except Exception:  # noqa: BLE001 - as in `_turn`
            _LOG.exception("a request was not answered")
            response, failed = json_response({"error": "internal error"}, 500), True
        return self._reply(one, response, close=failed)

    def _reply(self, one: Connection, response: Response, *, close: bool = False) -> bool:
        """As `_send`."""
        try:
            one.put(response, close=close or self._signal.set)
            return self._send(one)
        except OSError:
            self._close(one)
            return False

    def _send(self, one: Connection) -> bool:
        """Send what the peer takes; True when that is all and another request may be there. Raises `OSError`."""
        if not one.send():
            self._connections.wait_for(one, Phase.TAKING)
            return False
        if self._connections.free_place(one):
            self._signal.wake()
        if one.last:
            self._close_gently(one)
            return False
        self._connections.enter(one, Phase.ARRIVING if one.pending else Phase.IDLE)
        return True

    def _close_gently(self, one: Connection) -> None:
        """Say that nothing more comes, and give the peer a moment to take what did."""
        try:
            one.say_end()
        except OSError:
            self._close(one)
        else:
            self._connections.wait_for(one, Phase.CLOSING)

    def _close(self, one: Connection) -> None:
        self._connections.close(one)
        self._signal.wake()
