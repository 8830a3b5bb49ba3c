"""Refuses requests over TCP that name another host than this one, or have no token where one is asked for.

A page of the internet that a browser on this machine shows can have its own name point here (DNS rebinding), and then
send what it likes: its requests name its own host. Requests over the Unix socket pass. Answers nothing else: `routes`
does.
"""

import hmac
from collections.abc import Callable
from pathlib import Path

from skerry_agent.ports.api_access import ApiAccess, as_address, is_loopback
from skerry_agent.runner.http.messages import Request, RequestError, Response
from skerry_agent.runner.http.server import Handler
from skerry_agent.runner.http.watched_file import WatchedFile

MOST_KNOWN = 64
"""Host headers that are remembered as good: to look at each again would take longer than to answer."""

LEAST_TOKEN = 16
"""Characters that a token has at least."""

Issue = Callable[[str | None], None]
"""Say what is wrong now; None: nothing any more."""


class Guard:
    """A `Handler` before another one."""

    def __init__(self, inner: Handler, access: ApiAccess, model: str, issue: Issue) -> None:
        self._inner, self._access, self._model = inner, access, model
        self._names = {name.lower().rstrip(".") for name in access.names}
        self._known: set[str] = set()
        self._token = Token(Path(access.token_file), issue) if access.token_file else None

    @property
    def max_body_bytes(self) -> int:
        """See `Handler`."""
        return self._inner.max_body_bytes

    def answer(self, request: Request) -> Response:
        """The other's answer, or why there is none."""
        try:
            if request.uid is None:
                self._check_host(request.headers.get("host"))
                if self._token is not None:
                    self._token.check(request.headers.get("authorization", ""))
        except RequestError as error:
            return error.response
        return self._inner.answer(request)

    def _check_host(self, host: str | None) -> None:
        """Clients without one are older than browsers. Raises `RequestError` (421)."""
        if host is None or not self._access.check_host or host in self._known:
            return
        if not self._is_here(_without_port(host)):
            name = "an address" if self._access.addresses else "localhost"
            hint = f"use {name}, or name it in http_names of [models.{self._model}]"
            raise RequestError(421, f"host {host[:80]!r} is not served here: {hint}")
        if len(self._known) < MOST_KNOWN:
            self._known.add(host)

    def _is_here(self, host: str) -> bool:
        if is_loopback(host) or host in self._names:
            return True
        return self._access.addresses and as_address(host) is not None


class Token:
    """What clients must send as `Authorization: Bearer TOKEN`; another one counts as soon as it is in the file."""

    def __init__(self, file: Path, issue: Issue) -> None:
        self._file, self._issue = WatchedFile(file), issue
        self._token: bytes | None = None

    def check(self, header: str) -> None:
        """Raises `RequestError` (401), also for everybody while there is no usable token."""
        if self._file.changed():
            self._token = self._read()
        scheme, _, given = header.partition(" ")
        right = self._token is not None and hmac.compare_digest(given.strip().encode("latin-1", "replace"), self._token)
        if scheme.lower() != "bearer" or not right:
            asked = (("www-authenticate", "Bearer"),)
            raise RequestError(401, "send the token of this API as `Authorization: Bearer TOKEN`", asked)

    def _read(self) -> bytes | None:
        path = self._file.path
        try:
            token = path.read_bytes().strip()
            mode = path.stat().st_mode
        except OSError as error:
            self._issue(f"token_file {path}: {error.strerror}; nobody is let in over TCP")
            return None
        if len(token) < LEAST_TOKEN:
            self._issue(f"token_file {path}: a token has at least {LEAST_TOKEN} characters; nobody is let in over TCP")
            return None
        self._issue(f"token_file {path} can be read by others: chmod 600 it" if mode & 0o077 else None)
        return token


def _without_port(host: str) -> str:
    """The host of a Host header, in lower case."""
    name, colon, port = host.rpartition(":")
    if colon and (port.isdecimal() or not port) and (":" not in name or name.endswith("]")):
        host = name
    return host.lower().rstrip(".")
