"""The configuration of the mosquitto processes that the plane starts. Pure.

For a fleet with identities they are three processes, and not listeners of one: client ids are one space for all
listeners of a process, so whoever may choose his own id at one of them would throw out the plane and any device at
another. On the operation listener nobody may choose: the id is the name in the certificate.
"""

from dataclasses import dataclass
from pathlib import Path

from skerry_host.plane.broker.rights import BLOBS, DEVICE, NAME, OLD_WAY

LOOPBACK = "127.0.0.1"
MAX_MESSAGE_BYTES = 2 * 1024 * 1024
"""Above the largest chunk that the wire allows, with its topic."""

MAX_INFLIGHT = 4000
"""Unacknowledged messages of one client: the rest waits in the broker. Without a limit, the acknowledgement of what the
plane publishes would come behind all that was ever sent to it."""

MAX_ENROLMENT_BYTES = 32 * 1024
"""A request with two signing requests, and the answer with its certificates, are a tenth of it."""
MAX_ENROLLING = 1000
"""Boards that ask at the same time; the rest try again. Also a limit of the process (`secured`), because mosquitto
2.0.11 forgets its own at the first reload."""

OWN_FILES = 32
"""What a mosquitto opens beside its connections, with room to read its rules again."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of a listener: whom it trusts, whom of these no longer, and who it is itself."""

    chain: Path
    crl: Path
    cert: Path
    key: Path

    def lines(self) -> list[str]:
        """Nobody comes in without a certificate, and its name is his name."""
        return [
            f"cafile {self.chain}",
            f"crlfile {self.crl}",
            f"certfile {self.cert}",
            f"keyfile {self.key}",
            "tls_version tlsv1.2",
            "require_certificate true",
            "use_identity_as_username true",
        ]


@dataclass(frozen=True, slots=True)
class Bridge:
    """How the old listener's process comes to the operation listener: as `@old`, by an id that nobody can guess."""

    port: int
    ca: Path
    cert: Path
    key: Path
    client_id: str


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a process listens, and the folder of its files."""

    folder: Path
    port: int
    addresses: tuple[str, ...] = (LOOPBACK,)


def operation_conf(at: Listening, files: TlsFiles, user: str | None) -> str:
    """Devices with their certificates, and the plane."""
    listeners = _listeners(at, "operation", [*files.lines(), "use_username_as_clientid true"])
    return _joined(*_common(at, "mosquitto", user), *_kept(at), "persistent_client_expiration 30d", *listeners)


def plain_conf(at: Listening, user: str | None) -> str:
    """Anybody on this machine, without TLS and rules: for tests and tinkering."""
    listener = [f"listener {at.port} {LOOPBACK}", "allow_anonymous true"]
    return _joined(*_common(at, "mosquitto", user), *_kept(at), *listener)


def enrolment_conf(at: Listening, files: TlsFiles, user: str | None) -> str:
    """Boards that ask for an identity; several have one claim, so each may choose its id. Nothing is kept."""
    limits = ["retain_available false", "max_queued_messages 1000", f"message_size_limit {MAX_ENROLMENT_BYTES}"]
    listeners = _listeners(at, "enrolment", [*files.lines(), f"max_connections {MAX_ENROLLING}"])
    return _joined(*_common(at, "enrolment", user), "persistence false", *limits, *listeners)


def old_conf(at: Listening, bridge: Bridge, password_file: Path | None, user: str | None) -> str:
    """Devices of before: without TLS, on loopback without a password, elsewhere with the one that they were given."""
    loopback = _listeners(Listening(at.folder, at.port), "old", ["allow_anonymous true"])
    others = tuple(address for address in at.addresses if address != LOOPBACK)
    elsewhere = _listeners(
        Listening(at.folder, at.port, others), "old", ["allow_anonymous false", f"password_file {password_file}"]
    )
    limits = ["persistence false", "max_queued_messages 10000", f"message_size_limit {MAX_MESSAGE_BYTES}"]
    return _joined(*_common(at, "old", user), *limits, *loopback, *elsewhere, *_bridge_lines(bridge))


def _bridge_lines(bridge: Bridge) -> list[str]:
    """All topics of all devices: which of them pass is a matter of both sides' access rules, which can be reloaded."""
    inwards = [topic.replace(NAME, "+") for topic in OLD_WAY.read]
    outwards = [topic.replace(NAME, "+") for topic in OLD_WAY.write]
    assert BLOBS in inwards
    assert set(OLD_WAY.write) <= set(DEVICE.write)
    return [
        "connection old",
        f"address {LOOPBACK}:{bridge.port}",
        f"bridge_cafile {bridge.ca}",
        f"bridge_certfile {bridge.cert}",
        f"bridge_keyfile {bridge.key}",
        "remote_clientid @old",
        f"local_clientid {bridge.client_id}",
        "cleansession true",
        "local_cleansession false",  # what devices say while the operation process is away waits here
        "notifications false",
        "restart_timeout 1 5",
        *(f"topic {topic} in 1" for topic in inwards),
        *(f"topic {topic} out 1" for topic in outwards),
    ]


def _listeners(at: Listening, name: str, lines: list[str]) -> list[str]:
    """The same listener at each address; each has an ACL file of its own."""
    own = [*lines, f"acl_file {at.folder}/{name}.acl"]
    return [line for address in at.addresses for line in (f"listener {at.port} {address}", *own)]


def _common(at: Listening, name: str, user: str | None) -> list[str]:
    """What holds for the whole process; `user` is whom it goes on as if it is started as root."""
    return [
        "per_listener_settings true",
        f"log_dest file {at.folder}/{name}.log",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "connection_messages false",
        f"max_inflight_messages {MAX_INFLIGHT}",
        "set_tcp_nodelay true",
        *([f"user {user}"] if user else []),
    ]


def _kept(at: Listening) -> list[str]:
    """Of a process that keeps what it retains, and what waits for those who are away."""
    return [
        "persistence true",
        f"persistence_location {at.folder}/",
        "autosave_interval 30",
        "max_queued_messages 1000000",
        f"message_size_limit {MAX_MESSAGE_BYTES}",
    ]


def _joined(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)
