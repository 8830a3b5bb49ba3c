"""The links of a device that has an identity, or asks for one: the port `Connections`, over real connections.

`DeviceLink` is the one link that the rest of the supervisor knows. What is behind it may come later, and be another one
after the device has been named anew. It decides nothing: `identity.keeper` does.
"""

import threading
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

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
        self.place, self._post, self._will = place, post, will
        self._old: QuickLink | None = None
        self._make_old: Callable[[], QuickLink] | None = None
        self._old_events = Events(lambda: None, lambda _topic, _payload: None, lambda _kind, _detail: None)
        self._acked: Callable[[int], None] = lambda _token: None
        self._link: QuickLink | None = None
        self._client_id = ""
        self._open = False
        self._connections = 0

    def acked_by(self, acked: Callable[[int], None]) -> None:
        """Whom to tell that the broker has taken a message."""
        self._acked = acked

    def relocate(self, broker: BrokerUrl, *, metered: bool) -> None:
        """The broker is elsewhere: leave the connections that there are, and make those of the old way anew.

        That of an identity is made by `operate`.
        """
        self.place = replace(self.place, broker=broker, metered=metered)
        self._open = False
        if self._link is not None:
            self._connections += self._link.connection
            self._link.stop()
            self._link = None
        if self._old is not None:
            self._leave_old()
            self._connect_old()

    # -- the port `Connections` ----------------------------------------------------------------------------------------

    def operate(self, credentials: Credentials, events: Events) -> MqttLink:
        """See `Connections`. The same link where only its certificate changes: then it connects anew with that."""
        self._open = False
        if not credentials.provisional:
            self.end_old_way()
        security = self._secured(credentials)
        if self._link is not None and credentials.client_id == self._client_id:
            self._link.exchange(security)
            return self._link
        if self._link is not None:
            self._connections += self._link.connection
            self._link.stop()
        device = credentials.client_id
        link = QuickLink(self.place.broker, device, lambda _: self._will(device, self.connection), security)
        if self.place.metered:
            link.keepalive_s = METERED_KEEPALIVE_S
        self._link, self._client_id = link, device
        self._start(link, replace(events, down=self._resuming(events.down)), lambda: self._link is link)
        return link

    def _resuming(self, down: Callable[[str, str], None]) -> Callable[[str, str], None]:
        def resumed(kind: str, detail: str) -> None:
            self._connect_old()
            down(kind, detail)

        return resumed

    def release(self) -> None:
        """See `Connections`."""
        self._open = True
        self._leave_old()

    # -- the old way ---------------------------------------------------------------------------------------------------

    def go_old_way(self, make: Callable[[], QuickLink], events: Events) -> None:
        """Connect as agent.toml says, until the operation listener is reached, and again whenever it is not.

        That ends with the first identity that is not provisional.
        """
        self._make_old, self._old_events = make, events
        self._connect_old()

    def end_old_way(self) -> None:
        """The host takes this device the old way no more."""
        self._make_old = None
        self._leave_old()

    def _connect_old(self) -> None:
        if self._make_old is not None and self._old is None:
            self._open = False
            self._old = link = self._make_old()
            self._start(link, self._old_events, lambda: self._old is link)

    def _leave_old(self) -> None:
        if self._old is not None:
            self._connections += self._old.connection
            self._old.stop()
            self._old = None

    # -- enrolment -----------------------------------------------------------------------------------------------------

    def enrol(self, credentials: Credentials, events: Events) -> MqttLink:
        """See `Connections`."""
        assert self.place.enrolment is not None
        link = QuickLink(self.place.enrolment, credentials.client_id, lambda _: None, self._secured(credentials))
        self._start(link, events, lambda: True)
        return link

    def _secured(self, credentials: Credentials) -> LinkSecurity:
        return LinkSecurity(
            self.place.ca_file, credentials.cert_file, credentials.key_file, check_time=credentials.check_time
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
    def _used(self) -> QuickLink | None:
        """The link of all but the keeper: the old one while the other is not released."""
        return self._old or self._link

    @property
    def broker(self) -> BrokerUrl | None:
        """The broker of the link that is used; None before there is one. The old way may lead to another than meant."""
        return self._used.address if self._used is not None else None

    @property
    def connected(self) -> bool:
        """Whether there is a connection that may be used."""
        used = self._used
        return used is not None and (self._open or used is self._old) and used.connected

    @property
    def connection(self) -> int:
        """Counts the attempts since the start, of all links."""
        return self._connections + sum(link.connection for link in (self._link, self._old) if link is not None)

    @property
    def why_offline(self) -> str:
        """See `Link`."""
        if self._used is None:
            return "no connection was tried yet"
        if self._used is self._old:
            return self._old.why_offline
        return self._used.why_offline or ("" if self._open else "the host's time is asked for")

    @property
    def issue(self) -> str | None:
        """See `Link`."""
        if self._old is not None and self._link is not None and self._link.why_offline:
            where = self.place.broker.place
            return f"{where} is not reached, so this device goes on by agent.toml: {self._link.why_offline}"
        return self._used.issue if self._used is not None else None

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
        """Publish with QoS 1; None while offline."""
        return self._used.publish(topic, payload, retain=retain) if self.connected and self._used else None

    def subscribe(self, topics: list[str]) -> None:
        """Subscribe with QoS 1."""
        if self.connected and self._used is not None:
            self._used.subscribe(topics)

    def unsubscribe(self, topics: list[str]) -> None:
        """Stop receiving topics."""
        if self.connected and self._used is not None:
            self._used.unsubscribe(topics)

    def renew(self) -> None:
        """Drop the connection, so that another one is made."""
        if self._used is not None:
            self._used.renew()

    def check(self) -> None:
        """Drop a connection that gives no answers."""
        for link in (self._link, self._old):
            if link is not None:
                link.check()

    def stop(self) -> None:
        """Say goodbye."""
        for link in (self._link, self._old):
            if link is not None:
                MqttLink.stop(link)
