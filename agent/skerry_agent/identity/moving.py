"""Gets an identity for a device of the old way, over the connection that it has, once its host offers one.

The offer comes in a desired state, so it is signed; what goes back and forth holds no secret. Whether whoever asks is
the device, a person says: both sides show the same code. What the identity is used for, and when the old way ends, is
the keeper's and the link's matter.
"""

from collections.abc import Callable

from skerry_agent import log
from skerry_agent.identity.asking import Asking, Way
from skerry_agent.identity.exchange import Tools
from skerry_agent.identity.ports import IdentityStatus
from skerry_agent.ports.interfaces import Link
from skerry_agent.ports.jobs import MakeRequest, RequestMade
from skerry_agent.state import offered
from skerry_agent.wire import broker_url, codec, topics
from skerry_agent.wire.enrolment import Offer, RenewalAnswer, RenewalRequest
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.twin import Desired


class MoveRequest(Asking):
    """Asks as `Asking` does, over the link that the device has; whoever owns that hands in the answers."""

    def __init__(
        self, way: Way, tools: Tools, link: Link, got: Callable[[str], None], changed: Callable[[], None]
    ) -> None:
        super().__init__(way, tools, got, changed)
        self._old_way = link

    def _job(self) -> MakeRequest:
        return MakeRequest(str(self.way.state), self.way.kind, self.way.incarnation)

    def _connect(self) -> None:
        self._check_time = False
        self._ask()

    def _send(self, made: RequestMade) -> None:
        device, link = self.way.device, self._old_way
        if link.connected:
            request = self._request(made)
            link.subscribe([topics.renewal(device)])
            link.publish(topics.renew(device), codec.encode(RenewalRequest(request.nonce, enrol=request)))

    def answered(self, payload: bytes) -> None:
        """A message on `topics.renewal`."""
        try:
            answer = codec.decode(payload, RenewalAnswer)
        except WireError as error:
            log.warning("an answer to the request for an identity was ignored", detail=str(error))
            return
        if answer.enrol is not None and answer.nonce == self._time.nonce and not (self._over or self._busy):
            self._take(answer.enrol)


class Moving:
    """A device of the old way. `got` is called once it has an identity, which then lies in the state folder."""

    def __init__(self, way: Way, tools: Tools, link: Link, got: Callable[[], None]) -> None:
        self.issue: str | None = None
        self._way, self._tools, self._link = way, tools, link
        self.changed: Callable[[], None] = lambda: None
        self._got = got
        self._offer: Offer | None = None
        self._asking: MoveRequest | None = None

    @property
    def status(self) -> IdentityStatus | None:
        """How far it is; None while nothing is offered."""
        asking = self._asking
        if asking is None:
            return None
        return IdentityStatus(asking.state, code=asking.code, detail=asking.detail)

    def ordered(self, desired: Desired) -> None:
        """A desired state was accepted. One for the state folder that asks says that the host has said yes."""
        offer = desired.offer
        if offer is None and desired.incarnation is not None:
            offer = offered.kept(self._way.state)
        if offer == self._offer:
            return
        self._offer = offer
        self.stop()
        if offer is not None:
            self._begin(offer)
        self.changed()

    def message(self, topic: str, payload: bytes) -> bool:
        """Whether a message is an answer to what is asked here; then it was taken."""
        if topic != topics.renewal(self._way.device):
            return False
        if self._asking is not None:
            self._asking.answered(payload)
        return True

    def stop(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.stop()
            self._asking = None

    def _begin(self, offer: Offer) -> None:
        self.issue = None
        try:
            for url in (offer.broker, offer.enrolment):
                broker_url.parse(url)  # what cannot be called is not kept: the next start would go by it
            offered.keep(self._way.state, offer)
        except (WireError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            self._offer, self.issue = None, f"the host's offer of an identity could not be kept: {why}"
            return
        log.info("the host offers this device an identity", broker=offer.broker)
        self._asking = MoveRequest(self._way, self._tools, self._link, self._made, self.changed)
        self._asking.begin()

    def _made(self, _folder: str) -> None:
        self._asking = None
        self._got()
