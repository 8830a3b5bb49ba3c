"""What the network cases stand on: a broker, somebody who retains blobs on it or the plane's own answers to those who
ask, and a device that fetches them through the proxy with the agent's own link and fetcher. No tests here.
"""

import hashlib
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from skerry_agent.fetch.fetcher import Fetcher, Limits
from skerry_agent.fetch.over_mqtt import Mqtt
from skerry_agent.ports.clock import EventQueue
from skerry_agent.state.blobs import BlobStore, Part
from skerry_agent.supervisor.backoff import Backoff
from skerry_agent.supervisor.link import MqttLink
from skerry_agent.wire import topics
from skerry_agent.wire.blobs import CHUNK_BYTES, BlobRef, describe, digest_list, split
from skerry_agent.wire.broker_url import BrokerUrl
from skerry_host.plane.broker.link import Incoming, Link
from skerry_host.plane.delivery.answers import Answers
from skerry_host.release.store import Store

CHECK_S = 0.2
ANSWER_S = 1.0
RETRY_AFTER_S = 0.4


def blob(size: int, seed: str = "blob") -> bytes:
    """Bytes that nothing compresses, the same for the same seed."""
    return hashlib.shake_128(seed.encode()).digest(size)


class Host:
    """Retains messages, and does so again whenever it has to connect anew: a broker may have forgotten."""

    def __init__(self, port: int) -> None:
        self._messages: dict[str, bytes] = {}
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, "host", clean_session=True)
        self._client.max_inflight_messages_set(20)
        self._client.reconnect_delay_set(0.05, 0.2)
        self._client.on_connect = lambda *_: self._say(self._messages)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def retain(self, messages: dict[str, bytes]) -> None:
        """Publish, and wait until the broker has taken all of it."""
        self._messages |= messages
        for info in self._say(messages):
            info.wait_for_publish(20)

    def _say(self, messages: dict[str, bytes]) -> list[mqtt.MQTTMessageInfo]:
        return [self._client.publish(topic, data, qos=1, retain=True) for topic, data in list(messages.items())]

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()


class _Everyone(dict[str, dict[str, BlobRef]]):
    """Every device needs the same blobs."""

    def __init__(self, refs: dict[str, BlobRef]) -> None:
        self._refs = refs

    def get(self, _device: str, _default: object = None) -> dict[str, BlobRef]:  # type: ignore[override]
        return self._refs


class Plane:
    """The plane's own link and answers over a store, for any device that asks. It retains nothing."""

    def __init__(self, port: int, folder: Path, data: bytes, chunk_bytes: int = CHUNK_BYTES) -> None:
        store = Store(folder)
        store.put(data)
        ref = reference(data, chunk_bytes)
        self.link = Link(f"mqtt://127.0.0.1:{port}", f"plane-{port}", [topics.ALL_ASKS], self._receive)
        self.link._client.reconnect_delay_set(0.05, 0.2)
        self.answers = Answers(store, self.link.publish)
        self.answers.allow(_Everyone({ref.sha256: ref}))
        self._thread = threading.Thread(target=self.answers.run)
        self.link.start()
        self._thread.start()

    def _receive(self, message: Incoming) -> None:
        self.answers.take(message)
        self.link.acknowledge([message])

    def close(self) -> None:
        """Leave."""
        self.answers.stop()
        self._thread.join(10)
        self.link.stop()


def messages_of(data: bytes, ref: BlobRef) -> dict[str, bytes]:
    """All that is retained of a blob."""
    chunks = {topics.chunk(ref.sha256, i): chunk for i, chunk in enumerate(split(data, ref.chunk_bytes))}
    return chunks | ({topics.digests(ref.sha256): digest_list(data, ref.chunk_bytes)} if ref.digests_sha256 else {})


@dataclass
class Result:
    """How a fetch ended: `done`, a reason, or `deadline`."""

    ended: str = "deadline"
    seconds: float = 0.0
    writes: dict[int, int] = field(default_factory=dict)
    transferred: int = 0
    transports: tuple[str, ...] = ()


class Device:
    """The agent's link and fetcher, in this process, on a folder."""

    def __init__(self, port: int, folder: Path, limits: Limits | None = None, *, asked: bool = False) -> None:
        self.queue = EventQueue()
        self._name = f"net-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
        self._asked = asked
        self.limits = limits or Limits(retry_after_s=RETRY_AFTER_S)
        address = BrokerUrl("mqtt", "127.0.0.1", port)
        backoff = Backoff(0.05, 0.2)
        self.link = MqttLink(address, self._name, self._will, backoff=backoff, answer_s=ANSWER_S)
        self.result = Result()
        self.store = CountingStore(folder, self.result.writes)

    def _will(self, _connection: int) -> tuple[str, bytes]:
        return topics.state("net-device"), b"{}"

    def fetch(self, ref: BlobRef, deadline_s: float) -> Result:
        """Fetch a blob; the link lives as long as that."""
        began = time.monotonic()
        source = Mqtt(self.link, self._name, asked=self._asked)
        fetcher = Fetcher(
            self.queue, self.store, [ref], self.limits, lambda: self._end("done"), lambda why, _: self._end(why)
        )

        def up() -> None:
            source.link_up()
            fetcher.resume()

        def check() -> None:
            self.link.check()
            self.queue.after(CHECK_S, check)

        self.link.start(self.queue.post, up, source.message, lambda _token: None)
        self.queue.after(deadline_s, self.queue.stop)
        fetcher.start([source])
        check()
        self.queue.run()
        fetcher.stop()
        self.link.stop()
        self.result.seconds = time.monotonic() - began
        self.result.transferred, self.result.transports = fetcher.transferred, tuple(fetcher.transports)
        return self.result

    def _end(self, how: str) -> None:
        self.result.ended = how
        self.queue.stop()


class CountingStore(BlobStore):
    """Notes how often each chunk is written: every one shall be applied once."""

    def __init__(self, folder: Path, writes: dict[int, int]) -> None:
        super().__init__(folder)
        self._writes = writes

    def open_part(self, ref: BlobRef, digests: tuple[bytes, ...]) -> Part:
        part = super().open_part(ref, digests)
        write = part.write

        def counting(index: int, chunk: bytes) -> None:
            self._writes[index] = self._writes.get(index, 0) + 1
            write(index, chunk)

        part.write = counting  # type: ignore[method-assign]
        return part


def problems(device: Device, result: Result, ref: BlobRef, data: bytes) -> list[str]:
    """What is wrong with a fetch that should have ended well."""
    if result.ended != "done":
        return [f"ended {result.ended} after {result.seconds:.1f} s"]
    wrong = [] if device.store.path(ref.sha256).read_bytes() == data else ["another content"]
    return wrong + [f"chunk {i} written {n} times" for i, n in result.writes.items() if n != 1]


def reference(data: bytes, chunk_bytes: int = CHUNK_BYTES) -> BlobRef:
    """As the host describes it."""
    return describe(data, chunk_bytes)
