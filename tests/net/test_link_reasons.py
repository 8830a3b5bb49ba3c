"""With real brokers: why there is no connection is in the log, in the status and in the doctor's words, each time.

And nothing of the password is.
"""

import subprocess

import pytest

from skerry_agent.supervisor.backoff import Backoff
from skerry_agent.supervisor.link import MqttLink
from skerry_agent.supervisor.link_check import try_to_connect
from skerry_agent.supervisor.link_security import NOTHING, LinkSecurity
from skerry_agent.wire.broker_url import BrokerUrl
from skerry_host.plane.broker.broker import free_port
from skerry_host.plane.broker.link import Link
from tests.kit.brokers import Mosquitto, Nats
from tests.kit.certificates import make_certificate
from tests.kit.programs import require_program
from tests.kit.waiting import eventually, listens

SECRET = "hunter2-secret"


class Guarded(Mosquitto):
    """One that wants a password, and TLS where it is given a certificate."""

    def __init__(self, folder, *more):
        super().__init__(folder)
        (folder / "users").write_text(f"ann:{SECRET}\n")
        passwords = require_program("mosquitto_passwd", "mosquitto")
        subprocess.run([passwords, "-U", str(folder / "users")], check=True)
        text = self._conf.read_text().replace("allow_anonymous true", "allow_anonymous false")
        self._conf.write_text("\n".join([text, f"password_file {folder}/users", *more, ""]))

    def start(self):
        self._process = self.spawn()
        eventually(lambda: listens(self.port), "it listens")


class NatsWithUsers(Nats):
    """The same, with another broker."""

    def __init__(self, folder):
        super().__init__(folder)
        conf = folder / "nats.conf"
        conf.write_text(f'{conf.read_text()}authorization {{ user: ann, password: "{SECRET}" }}\n')

    start = Guarded.start


def reason_of(address, caplog, security=NOTHING):
    """What the link says after its first attempt, and the doctor after its own; the same kind."""
    caplog.set_level("DEBUG", logger="skerry-agent")
    caplog.clear()
    link = MqttLink(address, "dev-1", lambda _n: ("will", b"x"), security, Backoff(0.05, 0.1))
    link.start(lambda call: call(), lambda: None, lambda *_: None, lambda _token: None)
    eventually(lambda: link.problem or link.connected, "an answer")
    problem = link.problem
    link.stop()
    if problem is None:
        return None
    checked = try_to_connect(address, "dev-1", security)
    assert checked is not None
    assert checked.kind == problem.kind
    lines = [record for record in caplog.records if record.levelname == "WARNING"]
    assert lines
    assert problem.hint in lines[0].getMessage()
    assert lines[0].fields["reason"] == problem.kind
    assert SECRET not in caplog.text + str([record.fields for record in caplog.records])
    return problem.kind


@pytest.mark.parametrize("kind", [Guarded, NatsWithUsers], ids=["mosquitto", "nats"])
def test_a_refused_password_is_said_to_be_that(tmp_path, caplog, kind):
    with kind(tmp_path / "broker") as broker:
        wrong = BrokerUrl("mqtt", "127.0.0.1", broker.port, "ann", f"{SECRET}?")
        right = BrokerUrl("mqtt", "127.0.0.1", broker.port, "ann", SECRET)
        assert reason_of(wrong, caplog) in {"not_authorized", "bad_password"}
        assert reason_of(right, caplog) is None
        assert try_to_connect(right, "dev-1") is None


@pytest.fixture(scope="module")
def pems(tmp_path_factory):
    """An authority and what it has signed: good, expired, not valid yet, for another name; and a stranger's."""
    folder = tmp_path_factory.mktemp("pems")
    authority = make_certificate(folder, "authority", authority=True)
    make_certificate(folder, "good", signer=authority)
    make_certificate(folder, "expired", signer=authority, days=(-9, -2))
    make_certificate(folder, "early", signer=authority, days=(2, 9))
    make_certificate(folder, "named", signer=authority, san="broker.example")
    make_certificate(folder, "stranger")
    return folder


@pytest.mark.parametrize(
    ("certificate", "kind"),
    [
        ("good", "not_authorized"),
        ("expired", "certificate_expired"),
        ("early", "certificate_not_yet_valid"),
        ("named", "wrong_hostname"),
        ("stranger", "untrusted_authority"),
    ],
)
def test_a_certificate_that_is_not_accepted_is_said_to_be_that(tmp_path, pems, caplog, certificate, kind):
    more = (f"certfile {pems}/{certificate}.pem", f"keyfile {pems}/{certificate}.key")
    with Guarded(tmp_path / "broker", *more) as broker:
        address = BrokerUrl("mqtts", "127.0.0.1", broker.port, "ann", f"{SECRET}?")
        assert reason_of(address, caplog, LinkSecurity(pems / "authority.pem")) == kind


def test_where_nobody_listens_and_a_name_that_nobody_knows(caplog):
    assert reason_of(BrokerUrl("mqtt", "127.0.0.1", free_port()), caplog) == "refused"
    assert reason_of(BrokerUrl("mqtt", "no-such-broker.invalid", 1883), caplog) == "unresolvable"


def test_a_broker_that_ends_is_one_line_and_its_return_another(tmp_path, caplog):
    caplog.set_level("INFO", logger="skerry-agent")
    with Mosquitto(tmp_path / "broker") as broker:
        address = BrokerUrl("mqtt", "127.0.0.1", broker.port)
        link = MqttLink(address, "dev-1", lambda _n: ("will", b"x"), backoff=Backoff(0.05, 0.1))
        link.start(lambda call: call(), lambda: None, lambda *_: None, lambda _token: None)
        eventually(lambda: link.connected, "it is connected")
        assert link.why_offline == ""
        broker.stop()
        eventually(lambda: link.problem is not None and link.problem.kind == "refused", "it says why not")
        broker.start()
        eventually(lambda: link.connected, "it is connected again")
        assert link.why_offline == ""
        link.stop()
    told = [record.getMessage().split(":")[0] for record in caplog.records]
    assert told[0] == told[-1] == "connected to the broker"
    assert told[1] == "the connection to the broker was lost"
    assert set(told[2:-1]) == {"no connection to the broker"}


class Secretive(NatsWithUsers):
    """Its rules let devices publish, and not read their orders. mosquitto's never refuse a subscription."""

    def __init__(self, folder):
        super().__init__(folder)
        conf = folder / "nats.conf"
        rules = f'authorization {{ users = [{{ user: ann, password: "{SECRET}", permissions: {{ %s }} }}] }}\n'
        self._open = conf.read_text().partition("authorization")[0] + rules % 'subscribe: ">", publish: ">"'
        conf.write_text(self._open.replace('subscribe: ">"', 'subscribe: { deny: "skerry.v1.d.>" }'))

    def let(self):
        (self.folder / "nats.conf").write_text(self._open)


def test_a_subscription_that_the_broker_refuses_is_an_issue_and_over_when_it_is_let(tmp_path, caplog):
    """Such a device hears no order, and nobody said so."""
    with Secretive(tmp_path / "broker") as broker:
        address = BrokerUrl("mqtt", "127.0.0.1", broker.port, "ann", SECRET)
        link = MqttLink(address, "dev-1", lambda _n: ("will", b"x"), backoff=Backoff(0.05, 0.1))
        link.start(lambda call: call(), lambda: None, lambda *_: None, lambda _token: None)
        eventually(lambda: link.connected, "it is connected")
        link.subscribe(["skerry/v1/d/dev-1/desired", "skerry/v1/d/dev-1/command"])
        eventually(lambda: link.issue, "it says so", 3.0)
        assert "subscription of skerry/v1/d/dev-1/command and 1 more; check the broker's access rules" in link.issue
        url = f"mqtt://ann:{SECRET}@127.0.0.1:{broker.port}"
        plane = Link(url, "plane", ("skerry/v1/d/+/state",), lambda _message: None)
        plane.start()
        eventually(lambda: "refuses a subscription of the plane" in caplog.text, "the plane says so, too", 3.0)
        plane.stop()
        broker.stop()
        eventually(lambda: not link.connected, "it is gone")
        broker.let()
        broker.start()
        eventually(lambda: link.connected, "it is connected again")
        link.subscribe(["skerry/v1/d/dev-1/desired"])
        eventually(lambda: link.issue is None, "it is over")
        link.stop()
