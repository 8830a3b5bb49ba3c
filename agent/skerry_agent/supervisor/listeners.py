"""The listening sockets of a model's inference API, which outlive every runner, so that no request is lost in a swap.

Accepts nothing. Where the configured address cannot be had, the model serves all the same.
"""

import contextlib
import os
import socket
import stat
from pathlib import Path

from msgspec import Struct

from skerry_agent.config import AgentConfig, parse_listen
from skerry_agent.deployment.launcher import Listeners

BACKLOG = 512
ANY_PORT = "127.0.0.1:0"


class Opened(Struct, frozen=True):
    """The sockets of a model, and one line for each that could not be had."""

    listeners: Listeners
    issues: tuple[str, ...] = ()


def open_all(config: AgentConfig, model: str) -> Opened:
    """The sockets that the configuration asks for, or what there is in their place."""
    issues: list[str] = []
    tcp = _tcp(config.model(model).http, model, issues)
    path = config.unix_path(model)
    if path is None:
        return Opened(Listeners(tcp), tuple(issues))
    try:
        unix = open_unix(path, int(config.model(model).unix_mode, 8))
    except OSError as error:
        issues.append(f"models.{model}.unix: {path} cannot be used: {_why(error)}")
        return Opened(Listeners(tcp), tuple(issues))
    regions = os.fdopen(os.memfd_create(f"skerry-regions-{model}"), "r+b", buffering=0)
    return Opened(Listeners(tcp, unix, regions), tuple(issues))


def close_unix(listeners: Listeners) -> None:
    """Take the name of a model's Unix socket away: clients see at once that nobody serves it any more."""
    if listeners.unix is not None:
        with contextlib.suppress(OSError):
            Path(listeners.unix.getsockname()).unlink()


def urls(listeners: Listeners) -> dict[str, str]:
    """Where clients find each, by kind: `http` and `unix`."""
    found = {}
    if listeners.tcp is not None:
        host, port, *_ = listeners.tcp.getsockname()
        found["http"] = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if listeners.unix is not None:
        found["unix"] = str(listeners.unix.getsockname())
    return found


def open_tcp(address: str) -> socket.socket:
    """A listening TCP socket. Raises `OSError` or `ValueError` when it cannot be had."""
    where = parse_listen(address)
    if where is None:
        raise ValueError("it is not an address")
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    return socket.create_server(where, family=family, backlog=BACKLOG)


def open_unix(path: Path, mode: int) -> socket.socket:
    """A listening Unix socket that only those may connect to whom its mode lets write.

    Takes the place of a socket that nobody listens on any more, and of no other file. Raises `OSError`.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        before = os.umask(0o777)  # nobody may connect before it has its mode
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        path.chmod(mode)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


def _tcp(address: str | None, model: str, issues: list[str]) -> socket.socket | None:
    if address is None:
        return None
    try:
        return open_tcp(address)
    except (OSError, ValueError) as error:
        issues.append(f"models.{model}.http: {address} cannot be used: {_why(error)}")
    try:
        return open_tcp(ANY_PORT)
    except OSError as error:
        issues.append(f"{model} has no inference API: {_why(error)}")
        return None


def _why(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
