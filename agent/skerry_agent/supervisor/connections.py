"""The links of a device that has an identity, or asks for one: the port `Connections`, over real connections.

`DeviceLink` is the one link that the rest of the supervisor knows. What is behind it may come later, and be another one
after the device has been named anew. It decides nothing: `identity.keeper` does.
"""

import threading
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from skerry_agent.identity.ports import Credentials, Events
from skerry_agent.ports.interfaces import Post
from skerry_agent.supervisor.link import METERED_KEEPALIVE_S, MqttLink
from skerry_agent.supervisor.link_security import LinkSecurity
from skerry_agent.wire.broker_url import BrokerUrl


class Place(Struct, frozen=True):
    """Where the two listeners are, and who signs their certificates. `enrolment` is None where none is named."""

    broker: BrokerUrl
    enrolment: BrokerUrl | None
    ca_file: Path | None
    metered: bool = False


class QuickLink(MqttLink):
    """A link that is stopped without waiting for its thread: a connection that hangs must not hold up what serves."""

    def stop(self) -> None:
        """End it; no event follows."""
        threading.Thread(target=super().stop, daemon=True).start()


class DeviceLink:
    """The `Link` port before and after a device has an identity; closed for all but the keeper until `release`."""

    def __init__(self, place: Place, post: Post, will: Callable[[str, int], tuple[str, bytes]]) -> None:
        self._place, self._post, self._will = place, post, will
        self._acked: Callable[[int], None] = lambda _token: None
        self._link: QuickLink | None = None
        self._client_id = ""
        self._open = False
        self._connections = 0

    def acked_by(self, acked: Callable[[int], None]) -> None:
        """Whom to tell that the broker has taken a message."""
        self._acked = acked

    # -- the port `Connections` ----------------------------------------------------------------------------------------

    def operate(self, credentials: Credentials, events: Events) -> MqttLink:
        """See `Connections`. The same link where only its certificate changes: then it connects anew with that."""
        self._open = False
        security = self._secured(credentials)
        if self._link is not None and credentials.client_id == self._client_id:
            self._link.exchange(security)
            return self._link
        if self._link is not None:
            self._connections += self._link.connection
            self._link.stop()
        device, before = credentials.client_id, self._connections
        link = QuickLink(
            self._place.broker, device, lambda connection: self._will(device, before + connection), security
        )
        if self._place.metered:
            link.keepalive_s = METERED_KEEPALIVE_S
        self._link, self._client_id = link, device
        self._start(link, events, lambda: self._link is link)
        return link

    def release(self) -> None:
        """See `Connections`."""
        self._open = True

    def enrol(self, credentials: Credentials, events: Events) -> MqttLink:
        """See `Connections`."""
        assert self._place.enrolment is not None
        link = QuickLink(self._place.enrolment, credentials.client_id, lambda _: None, self._secured(credentials))
        self._start(link, events, lambda: True)
        return link

    def _secured(self, credentials: Credentials) -> LinkSecurity:
        return LinkSecurity(
            self._place.ca_file, credentials.cert_file, credentials.key_file, check_time=credentials.check_time
        )

    def _start(self, link: MqttLink, events: Events, is_current: Callable[[], bool]) -> None:
        """What a link says that is no more in use is not heard."""

        def up() -> None:
            if is_current():
                self._open = False
                events.up()

        link.start(
            self._post,
            up,
            lambda topic, payload: events.message(topic, payload) if is_current() else None,
            lambda token: self._acked(token) if is_current() else None,
            lambda why: events.down(why.kind, str(why)) if is_current() else None,
        )

    # -- the port `Link` -----------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether there is a connection that may be used."""
        return self._open and self._link is not None and self._link.connected

    @property
    def connection(self) -> int:
        """Counts the attempts since the start, of all links."""
        return self._connections + (self._link.connection if self._link is not None else 0)

    @property
    def why_offline(self) -> str:
        """See `Link`."""
        if self._link is None:
            return "no connection was tried yet"
        return self._link.why_offline or ("" if self._open else "the host's time is asked for")

    @property
    def issue(self) -> str | None:
        """See `Link`."""
        return self._link.issue if self._link is not None else None

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
        """Publish with QoS 1; None while offline."""
        return self._link.publish(topic, payload, retain=retain) if self.connected and self._link else None

    def subscribe(self, topics: list[str]) -> None:
        """Subscribe with QoS 1."""
        if self.connected and self._link is not None:
            self._link.subscribe(topics)

    def unsubscribe(self, topics: list[str]) -> None:
        """Stop receiving topics."""
        if self.connected and self._link is not None:
            self._link.unsubscribe(topics)

    def renew(self) -> None:
        """Drop the connection, so that another one is made."""
        if self._link is not None:
            self._link.renew()

    def check(self) -> None:
        """Drop a connection that gives no answers."""
        if self._link is not None:
            self._link.check()

    def stop(self) -> None:
        """Say goodbye."""
        if self._link is not None:
            MqttLink.stop(self._link)
