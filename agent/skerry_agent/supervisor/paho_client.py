"""paho's client, with a bound on what it reads, a network thread that outlives malformed packets, and why it failed.

Knows no topic and no message.
"""

import contextlib
import ssl
import threading
import time
from collections.abc import Callable

from skerry_agent.supervisor import link_problems
from skerry_agent.supervisor.link_problems import LinkProblem, problem
from skerry_agent.supervisor.link_security import LinkSecurity
from skerry_agent.supervisor.paho_import import import_paho
from skerry_agent.tls import Phase, is_alert, of_close
from skerry_agent.wire.broker_url import BrokerUrl

import_paho()
import paho.mqtt.client as mqtt  # noqa: E402 - after the import that keeps it small
from paho.mqtt.client import MQTTMessage  # noqa: E402
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode  # noqa: E402

__all__ = ["MAX_PACKET_BYTES", "MQTTErrorCode", "MQTTMessage", "WatchedClient"]

MAX_PACKET_BYTES = 2 * 1024 * 1024
"""Above the largest chunk that the wire allows, with its topic."""


class WatchedClient(mqtt.Client):
    """Ends a connection that delivers packets which are malformed, or larger than this protocol allows."""

    def __init__(self, address: BrokerUrl, client_id: str, security: LinkSecurity, wait_s: Callable[[], float]) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True)
        self._wait_s = wait_s
        self._address, self._heard = address, False
        self.security = security
        """With what the next connection is secured."""
        self.closing = threading.Event()
        self.problem: LinkProblem | None = None
        """What was seen of why this connection, or the attempt to make it, ends."""

    def aim(self, keepalive_s: int) -> None:
        """Say where to connect to; the loop does it."""
        self.connect_async(self._address.host, self._address.port, keepalive=keepalive_s)

    def reconnect(self) -> MQTTErrorCode:
        """Try to connect, with the files as they are now; paho forgets the error."""
        self.problem, self._heard = None, False
        try:
            self._secure()
            return super().reconnect()
        except OSError as error:
            self.problem = self._why(error, "handshake")
            raise

    @property
    def user(self) -> str | None:
        """As whom this connects, where that is by a password."""
        return self._username.decode() if self._username else None

    def _secure(self) -> None:
        """Paho takes a context once; each connection has its own here."""
        user, password = self.security.credentials(self._address)
        self.username_pw_set(user or None, password if user else None)
        if self._address.tls:
            self._ssl_context = None
            self.tls_set_context(self.security.context())

    def _why(self, error: OSError, phase: Phase | None = None) -> LinkProblem:
        phase = phase or ("session" if self._heard else "greeting")
        return link_problems.of_error(error, time.time(), phase if self._address.tls else None)

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:
        """Turn until `disconnect`; a packet that paho cannot parse ends the connection, not the thread."""
        while not self.closing.is_set():
            try:
                return super().loop_forever(timeout, retry_first_connection)
            except Exception as error:  # noqa: BLE001 - without this thread a device would be silent for ever
                self.problem = problem("malformed_packet", f"malformed packet: {type(error).__name__}: {error}")
                self.closing.wait(self._wait_s())
                with contextlib.suppress(Exception):  # the loop tries again
                    self.reconnect()
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > MAX_PACKET_BYTES:
            detail = f"a packet of {bufsize} B is over the limit of {MAX_PACKET_BYTES} B"
            self.problem = problem("packet_too_large", detail)
            raise ConnectionError(detail)
        try:
            received = super()._sock_recv(bufsize)
        except BlockingIOError:
            raise
        except OSError as error:
            self.problem = self.problem or self._why(error)
            raise
        self._look_at(received)
        return received

    def _look_at(self, received: bytes) -> None:
        """The first that comes, if it is no answer to what was sent."""
        if self._heard:
            return
        self._heard = bool(received)
        if self._address.tls and not received:
            self.problem = self.problem or problem(*of_close("greeting"))
        elif not self._address.tls and is_alert(received):
            self.problem = problem("tls_wanted", "the broker answers in TLS to what was sent without")

    def _sock_send(self, buf: bytes | bytearray) -> int:
        try:
            return super()._sock_send(buf)
        except BlockingIOError:
            raise
        except OSError as error:
            self.problem = self.problem or self._why(self._last_words(error))
            raise

    def _last_words(self, error: OSError) -> OSError:
        """What the broker had said before it closed: of TLS why, where that is why nothing can be sent."""
        try:
            super()._sock_recv(1)
        except ssl.SSLError as said:
            return said
        except OSError:
            pass
        return error
