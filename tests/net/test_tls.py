"""What can be wrong with TLS is told as that, on the device and on the host, by a real broker each time.

Cases T8 of the threat table and 16 of security.md: a foreign, expired or mismatched certificate is refused, with why.
"""

from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

from skerry_agent.supervisor.backoff import Backoff
from skerry_agent.supervisor.link import MqttLink
from skerry_agent.supervisor.link_check import try_to_connect
from skerry_agent.supervisor.link_security import LinkSecurity
from skerry_agent.wire.broker_url import BrokerUrl
from skerry_host.plane.broker.connection import Connection
from skerry_host.plane.broker.link import Link
from skerry_host.plane.errors import LinkError
from tests.kit.brokers import Mosquitto
from tests.kit.certificates import CLIENT, SERVER, make_certificate, make_crl, write_key
from tests.kit.waiting import eventually, listens

PHRASE = "hunter2-passphrase"


@pytest.fixture(scope="module")
def pems(tmp_path_factory):
    """An authority, a stranger's, and clients of either, good and bad."""
    folder = tmp_path_factory.mktemp("pems")
    authority = make_certificate(folder, "authority", authority=True)
    stranger = make_certificate(folder, "stranger", authority=True)
    make_certificate(folder, "server", signer=authority, usage=SERVER)
    make_certificate(folder, "old-server", signer=authority, usage=SERVER, days=(-9, -2))
    for name, more in CLIENTS.items():
        make_certificate(folder, name, **{"signer": authority, "usage": CLIENT, **more})
    make_certificate(folder, "foreign", signer=stranger, usage=CLIENT)
    revoked = make_certificate(folder, "revoked", signer=authority, usage=CLIENT)
    make_crl(folder / "crl.pem", authority, revoked)
    _spoil(folder)
    return folder


CLIENTS = {"good": {}, "expired": {"days": (-9, -2)}, "early": {"days": (2, 9)}, "server-only": {"usage": SERVER}}


def _spoil(folder):
    """Files that cannot be used."""
    good = make_certificate(folder, "spare")
    write_key(folder / "secret.key", good.key, BestAvailableEncryption(PHRASE.encode()))
    (folder / "open.key").write_bytes((folder / "good.key").read_bytes())
    (folder / "open.key").chmod(0o644)
    (folder / "none.pem").write_text("no certificate")
    (folder / "empty.pem").write_text("")


class OverTls(Mosquitto):
    """One with TLS, and more lines of configuration."""

    def __init__(self, folder, *lines):
        super().__init__(folder)
        self._conf.write_text("\n".join([self._conf.read_text(), *lines, ""]))

    def start(self):
        self._process = self.spawn()
        eventually(lambda: listens(self.port), "it listens")


def tls_lines(pems, server="server"):
    return f"certfile {pems}/{server}.pem", f"keyfile {pems}/{server}.key"


def mutual(pems):
    return *tls_lines(pems), f"cafile {pems}/authority.pem", f"crlfile {pems}/crl.pem", "require_certificate true"


@pytest.fixture(scope="module")
def broker(pems, tmp_path_factory):
    """One that wants certificates. With TLS 1.3, as here, it says what it thinks of them after the handshake."""
    with OverTls(tmp_path_factory.mktemp("broker"), *mutual(pems)) as running:
        yield running


@pytest.fixture(scope="module")
def older_broker(pems, tmp_path_factory):
    """The same with TLS 1.2, which says it in the handshake."""
    with OverTls(tmp_path_factory.mktemp("older"), *mutual(pems), "tls_version tlsv1.2") as running:
        yield running


@dataclass(frozen=True)
class Case:
    """What a client uses, by names of files, and the kind of what is told; None where it connects."""

    cert: str | None
    kind: str | None
    key: str | None = None
    ca: str = "authority.pem"
    host: str = "127.0.0.1"


OF_OURS = {
    "all is well": Case("good", None),
    "no certificate": Case(None, "certificate_wanted"),
    "one of a foreign authority": Case("foreign", "certificate_refused"),
    "one that has expired": Case("expired", "own_certificate_expired"),
    "one that is not valid yet": Case("early", "certificate_refused"),
    "one that is revoked": Case("revoked", "own_certificate_revoked"),
    "one for servers only": Case("server-only", "certificate_refused"),
}
OF_FILES = {
    "another one's key": Case("good", "unusable_key", "foreign.key"),
    "a key with a passphrase": Case("spare", "unusable_key", "secret.key"),
    "a key that others may read": Case("good", "unusable_key", "open.key"),
    "no file of a key": Case("good", "unusable_key", "missing.key"),
    "a folder for a key": Case("good", "unusable_key", "."),
    "no key in the file": Case("good", "unusable_key", "good.pem"),
    "no certificate in the file": Case("none", "unusable_certificate", "good.key"),
    "no file of a certificate": Case("missing", "unusable_certificate", "good.key"),
    "no file of an authority": Case("good", "unusable_authority", ca="missing.pem"),
    "a name that is none": Case("good", "unusable_authority", ca="a\0b"),
    "no authority in the file": Case("good", "unusable_authority", ca="none.pem"),
    "an empty file of an authority": Case("good", "unusable_authority", ca="empty.pem"),
    "another authority": Case("good", "untrusted_authority", ca="stranger.pem"),
    "another name": Case("good", "wrong_hostname", host="localhost"),
}
LATE = {"certificate_wanted", "certificate_refused", "own_certificate_expired", "own_certificate_revoked"}
"""Told after the handshake in TLS 1.3, where it may be lost with the connection: then the most probable is told."""


@pytest.mark.parametrize("case", [*OF_OURS.values(), *OF_FILES.values()], ids=[*OF_OURS, *OF_FILES])
def test_what_is_wrong_with_tls_is_told_as_that_by_device_and_plane(pems, broker, case):
    """Cases T8 and 16."""
    check(pems, broker, case)


@pytest.mark.parametrize("case", OF_OURS.values(), ids=OF_OURS)
def test_what_a_broker_minds_of_our_certificate_is_told_with_tls_1_2_too(pems, older_broker, case):
    check(pems, older_broker, case)


def check(pems, broker, case):
    """Device, doctor and plane say the same."""
    cert = pems / f"{case.cert}.pem" if case.cert else None
    key = pems / (case.key or f"{case.cert}.key") if case.cert else None
    address = BrokerUrl("mqtts", case.host, broker.port)
    told = [
        of_device(address, LinkSecurity(pems / case.ca, cert, key)),
        of_doctor(address, LinkSecurity(pems / case.ca, cert, key)),
        of_plane(Connection(address, None, None, pems / case.ca, cert, key)),
    ]
    allowed = {case.kind, "closed_after_handshake"} if case.kind in LATE else {case.kind}
    assert {kind for kind, _words in told} <= allowed
    for _kind, words in told:
        assert "\n" not in words
        assert PHRASE not in words


def of_device(address, security):
    """The kind and the words of the link's first attempt."""
    link = MqttLink(address, "dev-1", lambda _n: ("will", b"x"), security, Backoff(0.05, 0.1))
    link.start(lambda call: call(), lambda: None, lambda *_: None, lambda _token: None)
    eventually(lambda: link.problem or link.connected, "an answer")
    problem = link.problem
    link.stop()
    return (problem.kind, str(problem)) if problem else (None, "")


def of_doctor(address, security):
    problem = try_to_connect(address, "dev-1", security)
    return (problem.kind, str(problem)) if problem else (None, "")


def of_plane(where):
    link = Link(where, "plane", (), lambda _message: None)
    link._client.reconnect_delay_set(0.05, 0.05)  # whoever ends it waits for this
    try:
        link.start(0.5)
    except LinkError as error:
        return error.code, str(error)
    finally:
        link.stop()
    return None, ""


def test_a_device_whose_clock_cannot_be_right_looks_at_no_dates_of_its_own_authority(tmp_path, pems):
    """The broker's certificate has expired for it: without a look at dates it connects, to its own authority only."""
    with OverTls(tmp_path / "broker", *tls_lines(pems, "old-server")) as broker:
        address = BrokerUrl("mqtts", "127.0.0.1", broker.port)
        authority, stranger = pems / "authority.pem", pems / "stranger.pem"
        assert of_device(address, LinkSecurity(authority))[0] == "certificate_expired"
        assert of_device(address, LinkSecurity(authority, check_time=False))[0] is None
        assert of_device(address, LinkSecurity(stranger, check_time=False))[0] == "untrusted_authority"
        assert "by the clock here, which says 20" in of_plane(Connection(address, ca=authority))[1]


def test_tls_to_a_port_without_and_the_reverse(tmp_path, pems):
    with Mosquitto(tmp_path / "plain") as plain, OverTls(tmp_path / "tls", *tls_lines(pems)) as over_tls:
        secure, open_ = BrokerUrl("mqtts", "127.0.0.1", plain.port), BrokerUrl("mqtt", "127.0.0.1", over_tls.port)
        authority = pems / "authority.pem"
        assert of_device(secure, LinkSecurity(authority))[0] == "no_tls"
        assert of_plane(Connection(secure, ca=authority))[0] == "no_tls"
        for kind, words in (of_device(open_, LinkSecurity()), of_plane(Connection(open_))):
            assert kind in {"closed", "tls_wanted"}
            assert "TLS" in words


def test_a_file_that_is_put_right_is_used_without_a_restart(tmp_path, pems, broker):
    """An identity is renewed, or a mode mended, while the agent runs."""
    key = tmp_path / "device.key"
    security = LinkSecurity(pems / "authority.pem", pems / "good.pem", key)
    link = MqttLink(
        BrokerUrl("mqtts", "127.0.0.1", broker.port), "d-1", lambda _n: ("w", b""), security, Backoff(0.05, 0.1)
    )
    link.start(lambda call: call(), lambda: None, lambda *_: None, lambda _token: None)
    eventually(lambda: link.problem, "it says what is missing")
    assert link.problem.kind == "unusable_key"
    key.write_bytes((pems / "good.key").read_bytes())
    key.chmod(0o600)
    eventually(lambda: link.connected, "it is connected")
    link.stop()


def test_a_plane_whose_broker_comes_back_with_a_foreign_certificate_says_so_once(tmp_path, pems, caplog):
    """It is tried every few seconds, and was not said at all."""
    for name in ("pem", "key"):
        (tmp_path / f"own.{name}").write_bytes((pems / f"server.{name}").read_bytes())
    with OverTls(tmp_path / "broker", *tls_lines(tmp_path, "own")) as broker:
        address = BrokerUrl("mqtts", "127.0.0.1", broker.port)
        link = Link(Connection(address, ca=pems / "authority.pem"), "plane", (), lambda _message: None)
        link._client.reconnect_delay_set(0.05, 0.05)
        failed, say = [], link._client.on_connect_fail
        link._client.on_connect_fail = lambda *told: failed.append(caplog.text) or say(*told)
        link.start()
        broker.stop()
        for name in ("pem", "key"):
            (tmp_path / f"own.{name}").write_bytes((pems / f"stranger.{name}").read_bytes())
        broker.start()
        eventually(lambda: sum("unknown authority" in said for said in failed) > 3, "it says why, and tries again")
        link.stop()
    assert caplog.text.count("signed by an unknown authority") == 1
