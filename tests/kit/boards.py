"""Light boards that enrol over a real broker: a key, a claim's folder and a connection, and no agent. No tests here."""

import ssl
import threading
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec.structs import replace
from paho.mqtt.enums import CallbackAPIVersion

from skerry_agent.wire import broker_url, codec, topics
from skerry_agent.wire.enrolment import EnrolmentAnswer, EnrolmentRequest, code_of, return_proof_bytes
from skerry_host.identity.csr import key_sha256
from tests.kit.csr import csr_of, device_key
from tests.kit.waiting import eventually


class TlsClient:
    """An MQTT client with a certificate: what it heard is in `heard`."""

    def __init__(self, url: str, ca: Path, cert: Path, key: Path):
        self.heard: list[tuple[str, bytes]] = []
        self.refused = ""
        parts = broker_url.parse(url)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        context = ssl.create_default_context(cafile=str(ca))
        context.load_cert_chain(cert, key)
        self._client.tls_set_context(context)
        self._up, self._subscribed = threading.Event(), threading.Event()
        self._client.on_connect = lambda *_: self._up.set()
        self._client.on_disconnect = self._gone
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _c, _u, m: self.heard.append((m.topic, bytes(m.payload)))
        self._client.connect(parts.host, parts.port, keepalive=30)
        self._client.loop_start()
        eventually(lambda: self._up.is_set() or self.refused, "the broker answers")

    @property
    def connected(self) -> bool:
        return self._up.is_set()

    def _gone(self, *said):
        self._up.clear()
        self.refused = str(said[-2])

    def subscribe(self, topic: str) -> None:
        self._subscribed.clear()
        self._client.subscribe(topic, 1)
        eventually(self._subscribed.is_set, "a subscription is answered")

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1):
        return self._client.publish(topic, payload, qos, retain=retain)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@dataclass
class Board:
    """One board with the folder of its image; `serial` is its own."""

    folder: Path
    serial: str = ""
    incarnation: str = "0" * 32
    key: object = field(default_factory=device_key)
    birth: object = field(default_factory=device_key)

    @property
    def sha256(self) -> str:
        return key_sha256(self.key.public_key())

    @property
    def code(self) -> str:
        return code_of(self.sha256)

    @property
    def config(self) -> dict:
        return tomllib.loads((self.folder / "agent.toml").read_text())

    def request(self, nonce: str = "1" * 32, *, by_birth: bool = False, name: str = "") -> EnrolmentRequest:
        csr, birth = csr_of(self.key, name), None if by_birth else csr_of(self.birth, name)
        said = EnrolmentRequest(csr, nonce, self.incarnation, birth, self.serial, "generic-x86", "0.1")
        if not by_birth:
            return said
        text = return_proof_bytes(csr, self.incarnation)
        return replace(said, proof=self.birth.sign(text, ec.ECDSA(hashes.SHA256())))

    def client(self) -> TlsClient:
        url = self.config["enrolment"]["url"]
        return TlsClient(url, *(self.folder / name for name in ("fleet-ca.pem", "claim.pem", "claim.key")))

    def ask(self, client: TlsClient, principal: str, **how) -> None:
        """Ask once; the answer is heard by `answers`."""
        client.subscribe(topics.enroll_answer(principal, self.sha256[:16]))
        client.publish(topics.enroll_request(principal, self.sha256[:16]), codec.encode(self.request(**how)))

    def answers(self, client: TlsClient) -> list[EnrolmentAnswer]:
        mine = f"/{self.sha256[:16]}/cert"
        return [codec.decode(raw, EnrolmentAnswer) for topic, raw in client.heard if topic.endswith(mine)]

    def enrol(self, principal: str, **how) -> EnrolmentAnswer:
        """Ask and wait for the first answer, over a connection of its own."""
        client = self.client()
        try:
            self.ask(client, principal, **how)
            eventually(lambda: self.answers(client), f"board {self.code} is answered")
            return self.answers(client)[0]
        finally:
            client.close()

    def write_identity(self, answer: EnrolmentAnswer, folder: Path) -> tuple[Path, Path]:
        """The certificate and key that the board now has, as files."""
        folder.mkdir(parents=True, exist_ok=True)
        cert, key = folder / "device.pem", folder / "device.key"
        cert.write_bytes(answer.certificate)
        key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return cert, key

    def tls(self, answer: EnrolmentAnswer, folder: Path) -> ssl.SSLContext:
        """How a client of another kind connects in operation."""
        context = ssl.create_default_context(cafile=str(self.folder / "fleet-ca.pem"))
        context.load_cert_chain(*self.write_identity(answer, folder))
        return context

    def connect(self, answer: EnrolmentAnswer, folder: Path) -> TlsClient:
        """Connect in operation, with the certificate of an answer."""
        cert, key = self.write_identity(answer, folder)
        return TlsClient(self.config["broker"]["url"], self.folder / "fleet-ca.pem", cert, key)
