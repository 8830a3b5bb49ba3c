"""The local socket: how `skerry-agent status|rollback|install` talk to the running supervisor, in its state folder.

Works without a network. One JSON line each way. The socket is readable by the agent's user only.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from skerry_agent.ports.interfaces import Post
from skerry_agent.state.disk import is_locked
from skerry_agent.supervisor.report import LocalStatus
from skerry_agent.wire import codec
from skerry_agent.wire.errors import SkerryError, WireError

SOCKET_FILE = "agent.sock"
ANSWER_TIMEOUT_S = 10.0
PAUSE_S = 1.0
MAX_CLIENTS = 8
BACKLOG = 128
"""Who finds it full is refused at once: connect(2) of a Unix socket does not wait where there is a timeout."""


class StatusRequest(Struct, frozen=True, tag="status"):
    """Show the status."""


class RollbackRequest(Struct, frozen=True, tag="rollback"):
    """Roll back a model, None where there is only one; to its previous release, or to its factory release."""

    model: str | None = None
    factory: bool = False


class InstallRequest(Struct, frozen=True, tag="install"):
    """Install from a folder; the answer names the deployment."""

    folder: str


class Done(Struct, frozen=True, tag="done"):
    """Whether a request was carried out, or is from now on: then `model` shall come to rest on `release`."""

    ok: bool
    detail: str
    model: str = ""
    release: str = ""


class Status(Struct, frozen=True, tag="status"):
    """The answer to a status request."""

    status: LocalStatus


Request = StatusRequest | RollbackRequest | InstallRequest
Reply = Done | Status


class LocalError(SkerryError):
    """No supervisor runs there."""

    code = "not_running"


class SilentError(SkerryError):
    """A supervisor runs there, but gives no answer."""

    code = "no_answer"


@contextlib.contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """A path to the socket that is short enough for `sun_path` (108 bytes), however deep the folder lies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_FILE}"
    finally:
        os.close(descriptor)


def listen(folder: Path, post: Post, answer: Callable[[Request], Reply]) -> socket.socket:
    """Serve requests; `answer` runs in the supervisor's thread. Close the returned socket to end it."""
    (folder / SOCKET_FILE).unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _short_path(folder) as path:
        server.bind(path)
    (folder / SOCKET_FILE).chmod(0o600)
    server.listen(BACKLOG)
    threading.Thread(target=_serve, args=(server, post, answer), daemon=True).start()
    return server


def _serve(server: socket.socket, post: Post, answer: Callable[[Request], Reply]) -> None:
    """Converse with each client in a thread of its own; where there are many, the one that came first gives way."""
    clients: list[socket.socket] = []
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            if server.fileno() < 0:  # closed: the supervisor ends
                return
            time.sleep(PAUSE_S)  # too many open files: that passes
            continue
        clients = [client for client in (*clients, connection) if client.fileno() >= 0]
        if len(clients) > MAX_CLIENTS:
            with contextlib.suppress(OSError):  # it has just ended
                clients.pop(0).shutdown(socket.SHUT_RDWR)
        try:
            threading.Thread(target=_converse, args=(connection, post, answer), daemon=True).start()
        except RuntimeError:  # no more threads: that passes, and the next client is answered again
            connection.close()


def _converse(connection: socket.socket, post: Post, answer: Callable[[Request], Reply]) -> None:
    with contextlib.suppress(OSError), connection:  # the client went away; closing the stream may say so once more
        connection.settimeout(ANSWER_TIMEOUT_S)
        with connection.makefile("rwb") as stream:
            stream.write(codec.encode(_answered(stream.readline(codec.MAX_MESSAGE_BYTES), post, answer)) + b"\n")


def _answered(line: bytes, post: Post, answer: Callable[[Request], Reply]) -> Reply:
    try:
        request: Request = codec.decode(line, Request)  # type: ignore[arg-type]
    except WireError as error:
        return Done(ok=False, detail=str(error))
    replies: list[Reply] = []
    ready = threading.Event()

    def work() -> None:
        replies.append(answer(request))
        ready.set()

    post(work)
    return replies[0] if ready.wait(ANSWER_TIMEOUT_S) else Done(ok=False, detail="the agent is busy; try again")


def ask(folder: Path, request: Request) -> Reply:
    """Ask the running supervisor. Raises `LocalError` when none runs there, `SilentError` when it does not answer."""
    try:
        return _asked(folder, request)
    except (FileNotFoundError, ConnectionRefusedError):
        if not is_locked(folder):
            raise LocalError(f"no agent runs on {folder}", hint="start it with `skerry-agent run`") from None
    except (OSError, WireError):
        pass  # it was there, and has said nothing or not all
    hint = "see its log (`journalctl -u skerry-agent`), or restart it; its models go on serving until then"
    raise SilentError(f"the agent on {folder} does not answer", hint=hint)


def _asked(folder: Path, request: Request) -> Reply:
    with _short_path(folder) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(ANSWER_TIMEOUT_S)
        client.connect(path)
        with client.makefile("rwb") as stream:
            stream.write(codec.encode(request) + b"\n")
            stream.flush()
            reply: Reply = codec.decode(stream.readline(), Reply)  # type: ignore[arg-type]
            return reply
