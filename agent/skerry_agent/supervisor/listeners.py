"""The listening sockets of a model's inference API, which outlive every runner, so that no request is lost in a swap.

Accepts nothing. A port is chosen once: where it is taken later, or the configured address cannot be had, that is an
issue, which is tried again, and never another port that no application knows. The model serves on its Unix socket
meanwhile. Runners hold the TCP socket already then, so that they serve on it from the moment at which it can be had.
"""

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

from skerry_agent import log
from skerry_agent.config import AUTO, LOOPBACK, MAX_SOCKET_PATH, AgentConfig
from skerry_agent.deployment.launcher import Listeners
from skerry_agent.state.ports import KeptPorts
from skerry_agent.supervisor.port_holder import holder_of
from skerry_agent.wire.settings import parse_listen

BACKLOG = 512
PORTS = range(8000, 9000)
"""Of which a model gets the first that is free."""


class ModelListeners:
    """The sockets of one model. `issues` has a line for each that cannot be had now."""

    def __init__(self, config: AgentConfig, model: str, ports: KeptPorts, before: Listeners | None = None) -> None:
        """`before` are sockets of this model whose Unix socket stays in use."""
        self._config, self._model, self._ports = config, model, ports
        self._tcp_issue: str | None = None
        self._unix_issue: str | None = None
        self._before = before
        self.errno = 0
        unix = before.unix if before is not None else self._open_unix()
        if before is not None:
            regions = before.regions
        else:
            regions = os.fdopen(os.memfd_create(f"skerry-regions-{model}"), "r+b", buffering=0) if unix else None
        section = config.model(model)
        open_to_all = section.access.issue()
        self._open_issue = f"models.{model}.http: {section.http}: {open_to_all}" if open_to_all else None
        self.sockets = Listeners(self._open_tcp(), unix, regions, tls=section.tls_cert is not None)

    @property
    def issues(self) -> tuple[str, ...]:
        """For status and twin."""
        return tuple(issue for issue in (self._tcp_issue, self._unix_issue, self._open_issue) if issue)

    @property
    def refusal(self) -> str | None:
        """Why there is no TCP socket that listens."""
        return self._tcp_issue

    def elsewhere(self, config: AgentConfig) -> "ModelListeners":
        """The same with the TCP socket of another configuration; `refusal` says why that cannot be had."""
        return ModelListeners(config, self._model, self._ports, self.sockets)

    def close_tcp(self) -> None:
        """Give the port back; runners that still hold the socket answer what they have taken."""
        if self.sockets.tcp is not None:
            self.sockets.tcp.close()

    def retry(self) -> bool:
        """Try again to listen on what could not be had; True when that has worked."""
        if self._tcp_issue is None or self.sockets.tcp is None:
            return False
        with contextlib.suppress(OSError):
            self._listen(self.sockets.tcp)
            self._tcp_issue = None
            return True
        return False

    # -- TCP -----------------------------------------------------------------------------------------------------------

    def _open_tcp(self) -> socket.socket | None:
        """A socket that listens, or shall as soon as it can."""
        address = self._config.model(self._model).http
        if address is None:
            return None
        held = self._held()
        if held is not None:
            return held
        try:
            listener = socket.socket(socket.AF_INET6 if address.startswith("[") else socket.AF_INET)
        except OSError as error:
            self._tcp_issue = f"{self._model} has no inference API over TCP: {_why(error)}"
            return None
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listen(listener)
        except OSError as error:
            self.errno, self._tcp_issue = error.errno or 0, self._issue_of(error)
        return listener

    def _held(self) -> socket.socket | None:
        """The socket of before, where it listens just where this one shall: nobody can have the port twice."""
        tcp, where = self._before.tcp if self._before is not None else None, self._where()
        if tcp is None or where is None or not tcp.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        return tcp.dup() if tcp.getsockname()[:2] == where else None

    def _listen(self, listener: socket.socket) -> None:
        """Raises `OSError`."""
        where = self._where()
        if where is not None:
            _bind(listener, where)
            return
        for port in PORTS:
            if port not in self._ports.taken:
                try:
                    _bind(listener, (LOOPBACK, port))
                except OSError as error:
                    if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                        raise
                    continue
                self._ports.keep(self._model, port)
                return
        raise OSError(errno.EADDRINUSE, f"no port of {PORTS[0]} to {PORTS[-1]} is free")

    def _where(self) -> tuple[str, int] | None:
        """Where to listen: as configured, or on the model's port; None where that is yet to be chosen."""
        address = self._config.model(self._model).http or AUTO
        if address != AUTO:
            return parse_listen(address)
        port = self._ports.find(self._model)
        return (LOOPBACK, port) if port is not None else None

    def _issue_of(self, error: OSError) -> str:
        """Why the model has no TCP socket now, who has it, and what to do."""
        where, address = self._where(), self._config.model(self._model).http
        if where is None:
            return f"{self._model} has no inference API over TCP: {_why(error)}"
        taken = error.errno == errno.EADDRINUSE
        why = f"{holder_of(where[1])} listens there" if taken else _why(error)
        if address != AUTO:
            return f"models.{self._model}.http: {address} cannot be used: {why}; it is tried again each second"
        remedy = f"end that, or set http of [models.{self._model}] in agent.toml" if taken else "it is tried again"
        return f"port {where[1]} of {self._model} cannot be used: {why}; {remedy}"

    # -- Unix ----------------------------------------------------------------------------------------------------------

    def _open_unix(self) -> socket.socket | None:
        """The Unix socket. That the one of the state folder cannot be had is no issue, as nobody has asked for it."""
        path, section = self._config.unix_path(self._model), self._config.model(self._model)
        why = f"its path in the state folder is longer than {MAX_SOCKET_PATH} bytes"
        if path is not None:
            try:
                return open_unix(path, int(section.unix_mode, 8))
            except OSError as error:
                why = f"{path} cannot be used: {_why(error)}"
        if section.unix is None:
            log.info(f"{self._model}: it has no Unix socket: {why}", model=self._model)
        elif path is not None:
            self._unix_issue = f"models.{self._model}.unix: {why}"
        return None


def close_unix(listeners: Listeners) -> None:
    """Take the name of a model's Unix socket away: clients see at once that nobody serves it any more."""
    if listeners.unix is not None:
        with contextlib.suppress(OSError):
            Path(listeners.unix.getsockname()).unlink()


def urls(listeners: Listeners) -> dict[str, str]:
    """Where clients find each that listens, by kind: `http` and `unix`."""
    found = {}
    if listeners.tcp is not None and listeners.tcp.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        host, port, *_ = listeners.tcp.getsockname()
        scheme = "https" if listeners.tls else "http"
        found["http"] = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    if listeners.unix is not None:
        found["unix"] = str(listeners.unix.getsockname())
    return found


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


def _bind(listener: socket.socket, where: tuple[str, int]) -> None:
    """Listen there. Raises `OSError`; another try may follow."""
    try:
        listener.bind(where)
    except UnicodeError as error:
        raise OSError(errno.EINVAL, str(error)) from None
    listener.listen(BACKLOG)


def _why(error: OSError) -> str:
    return error.strerror or str(error)
