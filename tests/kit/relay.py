"""Passes connections on from a TCP port of one network namespace to one of another, over a Unix socket. No tests here.

A Unix socket is found by its path, whatever the network namespace: so a board that has no network at all reaches the
broker and nothing else. `python relay.py tcp:PORT unix:PATH` listens at the first and connects to the second.
"""

import socket
import sys
import threading
from pathlib import Path

_CHUNK = 65_536


def listen(address: str) -> socket.socket:
    """A listening socket at `tcp:PORT` of the loopback address, or `unix:PATH`."""
    kind, _, place = address.partition(":")
    if kind == "tcp":
        return socket.create_server(("127.0.0.1", int(place)))
    Path(place).unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX)
    made.bind(place)
    made.listen()
    return made


def connect(address: str) -> socket.socket:
    """A connection to the same kind of address. Raises `OSError`."""
    kind, _, place = address.partition(":")
    if kind == "tcp":
        return socket.create_connection(("127.0.0.1", int(place)))
    made = socket.socket(socket.AF_UNIX)
    made.connect(place)
    return made


def relay(listening: socket.socket, there: str) -> None:
    """Accept until the socket is closed; each connection has one of its own to `there`."""
    while True:
        try:
            here, _ = listening.accept()
        except OSError:
            return
        try:
            other = connect(there)
        except OSError:
            here.close()
            continue
        for source, sink in ((here, other), (other, here)):
            threading.Thread(target=_copy, args=(source, sink), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(_CHUNK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # either side is gone: so is the other
        for each in (source, sink):
            each.close()


if __name__ == "__main__":
    relay(listen(sys.argv[1]), sys.argv[2])
