"""The runner's end of the control socket: reads commands, sends heartbeats, ends the process when the socket closes.

It has its own thread, which never waits for the model, so that heartbeats go on while an inference hangs and `Stop`
works even then. Decides nothing else: other commands wait in a queue for `skerry_agent.runner.session`.
"""

import logging
import os
import queue
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from skerry_agent.ports.runner_protocol import Accept, Drain, Exercise, FromRunner, Heartbeat, Job, Stop, ToRunner
from skerry_agent.wire.codec import MAX_MESSAGE_BYTES, decode, encode
from skerry_agent.wire.errors import WireError

EXIT_STOPPED = 0
_CHUNK = 65536
_LOG = logging.getLogger(__name__)


class Lines:
    """Cuts a stream into lines. Raises `WireError` on a line longer than any message may be."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_MESSAGE_BYTES:
            raise WireError("control line", [f"longer than {MAX_MESSAGE_BYTES} bytes"])
        return lines


class Control:
    """The conversation with the supervisor, over a connected socket."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._lines = Lines()
        self._sending = threading.Lock()
        self.commands: queue.SimpleQueue[Accept | Exercise | Drain] = queue.SimpleQueue()

    def read_job(self) -> Job:
        """Wait for the first line. Raises `WireError` if it is not a job, `EOFError` if the supervisor exits first."""
        while data := self._peer.recv(_CHUNK):
            if lines := self._lines.feed(data):
                self._enqueue(lines[1:])
                return decode(lines[0], Job)
        raise EOFError

    def send(self, message: FromRunner) -> None:
        """Tell the supervisor; if it is gone, so is this process."""
        try:
            with self._sending:
                self._peer.sendall(encode(message) + b"\n")
        except OSError:
            leave()

    def start(self, heartbeat: Callable[[], Heartbeat], beat_s: float) -> None:
        """Read commands and send heartbeats from now on, in a thread."""
        threading.Thread(target=self._run, args=(heartbeat, beat_s), name="control", daemon=True).start()

    def _run(self, heartbeat: Callable[[], Heartbeat], beat_s: float) -> None:
        poller = select.poll()
        poller.register(self._peer, select.POLLIN)
        due = time.monotonic() + beat_s
        while True:
            if poller.poll(max(0.0, due - time.monotonic()) * 1000):
                self._receive()
            if time.monotonic() >= due:
                self.send(heartbeat())
                due = max(due + beat_s, time.monotonic())

    def _receive(self) -> None:
        try:
            data = self._peer.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            leave()
        self._enqueue(self._lines.feed(data))

    def _enqueue(self, lines: list[bytes]) -> None:
        for line in lines:
            try:
                command: ToRunner = decode(line, ToRunner)  # type: ignore[arg-type]
            except WireError as error:  # a newer supervisor may say more than this runner knows
                _LOG.warning("ignored: %s", error)
                continue
            if isinstance(command, Stop):
                leave()
            self.commands.put(command)


def leave() -> NoReturn:
    """End the process at once: the main thread may be stuck in C code, and nothing is left to flush."""
    os._exit(EXIT_STOPPED)
