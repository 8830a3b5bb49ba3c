"""paho's client, with a bound on what it reads, a network thread that outlives malformed packets, and why it failed.

Knows no topic and no message.
"""

import contextlib
import ssl
import threading
from collections.abc import Callable

from skerry_agent.supervisor import link_problems
from skerry_agent.supervisor.link_problems import LinkProblem, problem
from skerry_agent.supervisor.paho_import import import_paho

import_paho()
import paho.mqtt.client as mqtt  # noqa: E402 - after the import that keeps it small
from paho.mqtt.client import MQTTMessage  # noqa: E402
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode  # noqa: E402

__all__ = ["MAX_PACKET_BYTES", "MQTTErrorCode", "MQTTMessage", "WatchedClient"]

MAX_PACKET_BYTES = 2 * 1024 * 1024
"""Above the largest chunk that the wire allows, with its topic."""


class WatchedClient(mqtt.Client):
    """Ends a connection that delivers packets which are malformed, or larger than this protocol allows."""

    def __init__(self, client_id: str, wait_s: Callable[[], float]) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True)
        self._wait_s = wait_s
        self.closing = threading.Event()
        self.problem: LinkProblem | None = None
        """What was seen of why this connection, or the attempt to make it, ends."""

    def reconnect(self) -> MQTTErrorCode:
        """Try to connect; paho forgets the error."""
        self.problem = None
        try:
            return super().reconnect()
        except OSError as error:
            self.problem = link_problems.of_error(error)
            raise

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:
        """Turn until `disconnect`; a packet that paho cannot parse ends the connection, not the thread."""
        while not self.closing.is_set():
            try:
                return super().loop_forever(timeout, retry_first_connection)
            except Exception as error:  # noqa: BLE001 - without this thread a device would be silent for ever
                self.problem = problem("malformed_packet", f"malformed packet: {type(error).__name__}: {error}")
                self.closing.wait(self._wait_s())
                with contextlib.suppress(OSError):  # the loop tries again
                    self.reconnect()
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > MAX_PACKET_BYTES:
            detail = f"a packet of {bufsize} B is over the limit of {MAX_PACKET_BYTES} B"
            self.problem = problem("packet_too_large", detail)
            raise ConnectionError(detail)
        try:
            return super()._sock_recv(bufsize)
        except BlockingIOError:
            raise
        except OSError as error:
            self.problem = self.problem or link_problems.of_error(error)
            raise

    def _sock_send(self, buf: bytes | bytearray) -> int:
        try:
            return super()._sock_send(buf)
        except BlockingIOError:
            raise
        except OSError as error:
            self.problem = self.problem or link_problems.of_error(self._last_words(error))
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
