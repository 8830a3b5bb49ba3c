"""Devices that have enrolled, without their boards, and clients that come to a broker as anybody. No tests here."""

import ssl
import threading
from pathlib import Path

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from paho.mqtt.enums import CallbackAPIVersion

from skerry_agent.wire.enrolment import birth_name
from skerry_host.fleet.device import Device
from skerry_host.home import Home
from skerry_host.identity.authority import Authority
from skerry_host.identity.decision import Keys
from skerry_host.plane.registry.database import Registry
from skerry_host.plane.registry.records import claims, devices, identities
from skerry_host.plane.registry.records.identities import Certificate
from tests.kit.csr import csr_of, device_key
from tests.kit.waiting import eventually


def enrolled(home: Home, registry: Registry, device: str, now: float) -> Path:
    """A record with an identity; returns the file of its certificate and key."""
    authority = Authority.open(home.identity, now)
    key, birth = device_key(), device_key()
    issued, born = authority.device(csr_of(key), device), authority.birth(csr_of(birth), device)
    with registry.write() as session:
        if device not in devices.ids(session):
            devices.add(session, Device(device, "generic-x86", targets=("cpu",)), now)
        identities.bind(session, device, Keys(issued.key_sha256, born.key_sha256, "0" * 32), now)
        for made, name, kind in ((issued, device, "device"), (born, birth_name(device), "birth")):
            row = Certificate(made.serial, name, kind, made.key_sha256, made.not_after, made.pem)
            identities.add_certificate(session, row)
    write(home.devices / f"@birth-{device}.pem", born.pem, birth)
    return write(home.devices / f"{device}.pem", issued.pem, key)


def claimed(home: Home, registry: Registry, count: int, now: float) -> tuple[str, Path]:
    """A claim for so many boards: its name, and the file of its certificate and key."""
    with registry.write() as session:
        made = claims.add(session, claims.Wanted("generic-x86", (), now + 86400, count), now)
        pair = Authority.open(home.identity, now).claim(made.name, 1.0)
        identities.add_certificate(session, Certificate(pair.serial, made.name, "claim", "", pair.not_after))
    file = home.devices / f"{made.name}.pem"
    file.write_bytes(pair.pem + pair.key_pem)
    return made.name, file


def write(file: Path, pem: bytes, key: ec.EllipticCurvePrivateKey) -> Path:
    file.write_bytes(pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file


class Caller:
    """A client that notes what it gets; `pem` None comes without TLS. It does not come back by itself."""

    def __init__(  # noqa: PLR0913 - what tests want of a client, by name
        self,
        port: int,
        ca: Path | None = None,
        pem: Path | None = None,
        client_id: str = "anyone",
        *,
        will: str = "",
        login: tuple[str, str] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.connected, self.gone, self._granted = threading.Event(), threading.Event(), threading.Event()
        self._client = client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id, clean_session=True, reconnect_on_failure=False
        )
        if ca is not None:
            context = ssl.create_default_context(cafile=str(ca))
            if pem is not None:
                context.load_cert_chain(pem)
            client.tls_set_context(context)
        if will:
            client.will_set(will, b"its will", 1, retain=True)
        if login:
            client.username_pw_set(*login)
        client.on_connect = lambda _c, _d, _f, reason, _p: reason.is_failure or self.connected.set()
        client.on_disconnect = lambda *_: self.gone.set()
        client.on_message = lambda _c, _d, message: self.got.append((message.topic, message.payload))
        client.on_subscribe = lambda *_: self._granted.set()
        self._where = host, port

    def come(self) -> bool:
        """Whether the broker lets it in."""
        try:
            self._client.connect(*self._where)
        except (OSError, ValueError):
            return False
        self._client.loop_start()
        eventually(lambda: self.connected.is_set() or self.gone.is_set(), "the broker answers")
        return self.connected.is_set() and not self.gone.wait(0.05)

    def subscribe(self, *topics: str) -> None:
        """Returns when the broker has answered, whatever it has said."""
        self._granted.clear()
        self._client.subscribe([(topic, 1) for topic in topics])
        eventually(lambda: self._granted.is_set() or self.gone.is_set(), "it is answered", 5.0)

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Returns when the broker has acknowledged it, as it also does what it drops."""
        info = self._client.publish(topic, payload, 1, retain)
        eventually(lambda: self.gone.is_set() or info.is_published(), "it is acknowledged")

    def drop(self) -> None:
        """Go without a word, so that the broker sends the will."""
        import socket

        self._client.socket().shutdown(socket.SHUT_RDWR)
        assert self.gone.wait(10)

    def topics(self) -> set[str]:
        return {topic for topic, _ in self.got}

    def __enter__(self) -> "Caller":
        assert self.come()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
