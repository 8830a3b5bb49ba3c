"""The link to the broker: an adapter over paho. Correctness rests on QoS 1, retained messages and the last will only.

paho's network thread hands everything to the supervisor's thread through `post`; nothing else happens in it. Messages
are not queued while offline: the supervisor publishes its state anew on every connect, the outbox keeps the reports.
A connection on which nothing is acknowledged is dropped, because it may be half open. `problem` says why there is no
connection.
"""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from skerry_agent import log
from skerry_agent.ports.interfaces import Post
from skerry_agent.supervisor import link_problems
from skerry_agent.supervisor.backoff import Backoff
from skerry_agent.supervisor.link_problems import LinkProblem, problem
from skerry_agent.supervisor.link_security import NOTHING, LinkSecurity
from skerry_agent.supervisor.paho_client import MQTTErrorCode, MQTTMessage, WatchedClient
from skerry_agent.wire.broker_url import BrokerUrl

KEEPALIVE_S, METERED_KEEPALIVE_S = 90, 1300
"""Above the usual interval of reports, which then are sign of life enough; a ping and its answer cost 200 bytes. The
broker says that a device is gone after one and a half times that."""

ANSWER_S = 20.0
"""How long the broker may take to answer a request."""

ACK_S = 60.0
"""How long one message may stay unacknowledged while others are acknowledged: after that it counts as lost."""

MOST_REFUSED = 100


class MqttLink:
    """A connection that comes back by itself; `keepalive_s` counts from `start` on."""

    def __init__(
        self,
        address: BrokerUrl,
        client_id: str,
        will: Callable[[int], tuple[str, bytes] | None],
        security: LinkSecurity = NOTHING,
        backoff: Backoff | None = None,
        answer_s: float = ANSWER_S,
    ) -> None:
        self.connected = False
        self.connection = 0
        self.problem: LinkProblem | None = None
        self.keepalive_s = KEEPALIVE_S
        self.address = address
        self._will = will
        self._backoff = backoff or Backoff()
        self._answer_s, self._ack_s = answer_s, ACK_S * answer_s / ANSWER_S
        self._connected_at = 0.0
        self._asked_at: float | None = None
        self._unacked: dict[int, float] = {}
        self._subscribing: dict[int, list[str]] = {}
        self._naming = threading.Lock()
        self._refused: set[str] = set()
        self._where = str(address)
        self._told: Callable[[LinkProblem], None] = lambda _problem: None
        self._client = WatchedClient(address, client_id, security, self._lost)

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(
        self,
        post: Post,
        on_up: Callable[[], None],
        on_message: Callable[[str, bytes], None],
        on_acked: Callable[[int], None],
        on_down: Callable[[LinkProblem], None] = lambda _problem: None,
    ) -> None:
        """Begin to connect; the callbacks run in the supervisor's thread. `on_down`: why there is no connection."""
        self._told = lambda why: post(lambda: on_down(why))

        def connected(_client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
            if code.is_failure:
                self._client.problem = link_problems.of_answer(str(code), self._client.user)
            else:
                self._begin()
                post(on_up)

        def received(_client: Any, _data: Any, message: MQTTMessage) -> None:
            self._asked_at = None
            try:
                topic, payload = message.topic, bytes(message.payload)
            except UnicodeDecodeError:
                log.warning("a message was ignored, because its topic is not valid UTF-8", broker=self._where)
                return
            post(lambda: on_message(topic, payload))

        def acked(_client: Any, _data: Any, token: int, *_rest: Any) -> None:
            self._asked_at = None
            self._unacked.pop(token, None)
            post(lambda: on_acked(token))

        self._client.on_pre_connect = self._connecting
        self._client.on_connect = connected
        self._client.on_connect_fail = self._disconnected
        self._client.on_disconnect = self._disconnected
        self._client.on_message = received
        self._client.on_publish = acked
        self._client.on_subscribe = self._subscribed
        self._client.on_unsubscribe = self._answered
        self._client.aim(self.keepalive_s)
        self._client.loop_start()

    def stop(self) -> None:
        """Say goodbye; the broker then sends no last will, so publish the death first."""
        self._client.closing.set()
        self._client.disconnect()
        self._client.loop_stop()

    def check(self) -> None:
        """Drop a connection that gives no answers; call it every second or so."""
        now = time.monotonic()
        asked_at = self._asked_at
        deaf = asked_at is not None and now - asked_at > self._answer_s
        oldest = next(iter(list(self._unacked.values())), now)
        lost = self.connected and now - oldest > self._ack_s
        if deaf:
            self._renew(problem("no_answers", f"the broker has answered nothing for {self._answer_s:g} s"))
        elif lost:
            self._renew(problem("lost_message", f"a message was not acknowledged within {self._ack_s:g} s"))

    def renew(self) -> None:
        """Drop the connection, so that another one is made."""
        self._renew(problem("no_answers", "what was asked for does not come"))

    def exchange(self, security: LinkSecurity) -> None:
        """Connect anew, with this."""
        self._client.security = security
        self._renew(problem("new_certificate", "this device has another certificate"))

    def _renew(self, why: LinkProblem) -> None:
        self._client.problem = self._client.problem or why
        open_socket: Any = self._client.socket()
        if open_socket is not None:
            with contextlib.suppress(OSError):  # it broke at this very moment
                open_socket.shutdown(socket.SHUT_RDWR)

    @property
    def why_offline(self) -> str:
        """Why there is no connection, and what to do; empty while there is one, or none was tried."""
        return str(self.problem) if self.problem is not None else ""

    def broker_dates(self) -> tuple[float, float] | None:
        """From when to when the certificate is valid that the broker has shown; None where it has shown none."""
        open_socket: Any = self._client.socket()
        shown: Any = open_socket.getpeercert() if isinstance(open_socket, ssl.SSLSocket) else None
        if not shown:
            return None
        return ssl.cert_time_to_seconds(shown["notBefore"]), ssl.cert_time_to_seconds(shown["notAfter"])

    @property
    def issue(self) -> str | None:
        """What is wrong with the connection that there is: topics that the broker does not let this device read."""
        refused = sorted(self._refused)
        more = f" and {len(refused) - 1} more" if refused[1:] else ""
        rules = "check the broker's access rules for this device"
        return f"the broker refuses the subscription of {refused[0]}{more}; {rules}" if refused else None

    # -- in paho's thread ----------------------------------------------------------------------------------------------

    def _connecting(self, _client: Any, _data: Any) -> None:
        self.connection += 1
        self._asked_at = time.monotonic()
        will = self._will(self.connection)
        if will is not None:
            self._client.will_set(*will, qos=1, retain=True)

    def _begin(self) -> None:
        self._connected_at = time.monotonic()
        self._asked_at = None
        self._unacked.clear()
        self._subscribing.clear()
        self._refused.clear()
        self.connected, self.problem = True, None
        log.info("connected to the broker", broker=self._where)

    def _disconnected(self, *arguments: Any) -> None:
        if self._client.problem is None and "Keep alive timeout" in map(str, arguments):
            self._client.problem = problem("no_ping", "the broker does not answer pings")
        wait_s: Any = self._lost()  # paho's signature says int, it adds and compares only
        self._client.reconnect_delay_set(wait_s, wait_s)

    def _lost(self) -> float:
        """The connection is over, or was never made; how long to wait for the next one."""
        self._tell()
        lasted_s = time.monotonic() - self._connected_at if self.connected else 0.0
        self.connected, self._asked_at = False, None
        return self._backoff.next_s(lasted_s)

    def _tell(self) -> None:
        """Log why there is no connection, unless that was wanted."""
        if self._client.closing.is_set():
            return
        before = "" if self.connected else " before it was made"
        self.problem = self._client.problem or problem("closed", f"the broker has closed the connection{before}")
        self._client.problem = None
        what = "the connection to the broker was lost" if self.connected else "no connection to the broker"
        level = "info" if self.problem.kind == "new_certificate" else "warning"
        log.say(level, f"{what}: {self.problem}", broker=self._where, reason=self.problem.kind)
        self._told(self.problem)

    def _answered(self, *_arguments: Any) -> None:
        self._asked_at = None

    def _subscribed(self, _client: Any, _data: Any, mid: int, codes: list[Any], _properties: Any) -> None:
        self._asked_at = None
        with self._naming:  # the answer may be here before the number of the question is noted
            topics = self._subscribing.pop(mid, [])
        for topic, code in zip(topics, codes, strict=False):
            if not code.is_failure:
                self._refused.discard(topic)
            elif len(self._refused) < MOST_REFUSED:
                self._refused.add(topic)

    # -- for the supervisor --------------------------------------------------------------------------------------------

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
        """Publish with QoS 1; None while offline."""
        if not self.connected:
            return None
        self._ask()
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        if info.rc > MQTTErrorCode.MQTT_ERR_SUCCESS:  # the connection has just ended, and nobody has said so yet
            return None
        self._unacked[info.mid] = time.monotonic()
        if info.is_published():  # acknowledged before it was noted
            self._unacked.pop(info.mid, None)
        return info.mid

    def subscribe(self, topics: list[str]) -> None:
        """Subscribe with QoS 1; at most 8 topics a packet, which every broker accepts."""
        for start in range(0, len(topics), 8):
            self._ask()
            some = topics[start : start + 8]
            with self._naming:
                _, mid = self._client.subscribe([(topic, 1) for topic in some])
                if mid is not None:
                    self._subscribing[mid] = some

    def unsubscribe(self, topics: list[str]) -> None:
        """Stop receiving topics."""
        for start in range(0, len(topics), 8):
            self._ask()
            self._client.unsubscribe(topics[start : start + 8])

    def _ask(self) -> None:
        if self._asked_at is None:
            self._asked_at = time.monotonic()
