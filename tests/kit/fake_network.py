"""A fleet's two listeners without sockets, behind the port `Connections`: they judge, and the host answers.

A connection is made a tenth of a second after it was asked for, and tried again every two. What is wrong is data:
`reachable`, `server_dates`, and whom the host has revoked. No tests here.
"""

from pathlib import Path

from cryptography import x509

from skerry_agent.ports.clock import HostOffset
from skerry_agent.wire import codec, topics
from skerry_agent.wire.enrolment import EnrolmentRequest, RenewalRequest
from tests.kit.fleet_host import FleetHost
from tests.kit.link import FakeLink
from tests.kit.site import QueueClock

RETRY_S, ROUND_S = 2.0, 0.1


class BoardClock(QueueClock):
    """A board's clock, wrong by `wrong_s`; the host's is `right`."""

    def __init__(self, wrong_s: float = 0.0) -> None:
        super().__init__()
        self.wrong_s, self._offset = wrong_s, HostOffset()

    def right(self):
        return self.now + 1_800_000_000.0

    def system_wall(self):
        return self.right() + self.wrong_s

    def wall(self):
        return self._offset.corrected(self.system_wall(), self.now)

    def host_says(self, wall):
        self._offset.learn(wall, self.system_wall(), self.now)


class FakeSecureLink(FakeLink):
    """One link; what is published reaches the host at once, and its answer comes a moment later."""

    def __init__(self, network, name, credentials, events):
        super().__init__()
        self.connected, self.stopped = False, False
        self.network, self.name, self.credentials, self.events = network, name, credentials, events
        self.attempts = 0
        network.clock.after(ROUND_S, self._try)

    def stop(self):
        self.stopped, self.connected = True, False

    def renew(self):
        super().renew()
        self.connected = False
        self.network.clock.after(ROUND_S, self._try)

    def broker_dates(self):
        return self.network.server_dates if self.connected else None

    def _try(self):
        if self.stopped or self.connected:
            return
        self.attempts += 1
        kind = self.network.judge(self)
        if kind is None:
            self.connected = True
            self.subscribed.clear()
            self.events.up()
        else:
            self.events.down(kind, f"the reason is {kind}")
            self.network.clock.after(RETRY_S, self._try)

    def publish(self, topic, payload, *, retain=False):
        token = super().publish(topic, payload, retain=retain)
        if token is not None:
            self.network.heard(self, topic, payload)
        return token

    def deliver(self, topic, answer):
        if self.connected and not self.stopped and topic in self.subscribed:
            self.events.message(topic, codec.encode(answer))


class FakeNetwork:
    """Both listeners of a host. `released`: how often the supervisor was given the operation link."""

    def __init__(self, host: FleetHost, clock: BoardClock) -> None:
        self.host, self.clock = host, clock
        self.reachable = True
        self.answers = True
        self.server_dates = (clock.right() - 86_400.0, clock.right() + 700 * 86_400.0)
        self.operations: list[FakeSecureLink] = []
        self.enrolments: list[FakeSecureLink] = []
        self.released = 0
        self.refuses: dict[str, str] = {}
        """Serials of certificates that the operation listener refuses, with the kind of why."""

    # -- the port ------------------------------------------------------------------------------------------------------

    def operate(self, credentials, events):
        if self.operations:
            self.operations[-1].stop()
        self.operations.append(FakeSecureLink(self, "operation", credentials, events))
        return self.operations[-1]

    def release(self):
        self.released += 1

    def enrol(self, credentials, events):
        self.enrolments.append(FakeSecureLink(self, "enrolment", credentials, events))
        return self.enrolments[-1]

    # -- the host's side -----------------------------------------------------------------------------------------------

    def judge(self, link: FakeSecureLink) -> str | None:
        if not self.reachable:
            return "unreachable"
        if link.credentials.check_time:
            begins, ends = self.server_dates
            if not begins <= self.clock.system_wall() <= ends:
                return "certificate_expired" if self.clock.system_wall() > ends else "certificate_not_yet_valid"
        certificate = _certificate(link.credentials.cert_file)
        if certificate is None:
            return "unusable_certificate"
        if not _dates(certificate)[0] <= self.clock.right() <= _dates(certificate)[1]:
            return "own_certificate_expired"
        if link.name == "operation" and link.credentials.client_id in self.host.revoked:
            return "own_certificate_revoked"
        return self.refuses.get(f"{certificate.serial_number:032x}") if link.name == "operation" else None

    def heard(self, link: FakeSecureLink, topic: str, payload: bytes) -> None:
        self.host.now = self.clock.right()
        if not self.answers:
            return
        if topic.endswith("/csr"):
            principal, key = topics.enrolment_of(topic)
            answer = self.host.answer(principal, codec.decode(payload, EnrolmentRequest))
            where = topics.enroll_answer(principal, key)
        elif topic.endswith("/renew"):
            device = topics.device_of(topic)
            answer = self.host.renew(device, codec.decode(payload, RenewalRequest))
            where = topics.renewal(device)
        else:
            return
        self.clock.after(ROUND_S, lambda: link.deliver(where, answer))


def _certificate(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError):
        return None


def _dates(certificate: x509.Certificate) -> tuple[float, float]:
    return certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
