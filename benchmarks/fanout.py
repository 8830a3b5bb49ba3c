"""What it costs the host to bring one blob to N devices over MQTT; prints JSON.

Skerry's way (each chunk published once, retained, devices slide a window of exact topics over it) against the peer's
(every device asks for every chunk and is answered on a topic of its own), in one run over one mosquitto. The host's
bytes are counted where they leave it: a relay between its socket and the broker counts both directions. Every device
checks every chunk's hash and the blob's.

    python benchmarks/fanout.py [--devices 50] [--megabytes 4]
"""

import argparse
import hashlib
import json
import os
import queue
import select
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from skerry_agent.wire import blobs, topics
from skerry_agent.wire.blobs import BlobRef
from skerry_host.plane.broker import LOOPBACK, Mosquitto, find_mosquitto
from skerry_host.plane.link import Link
from skerry_host.plane.publish import blob_messages

WINDOW = 8
GOAL = 1.05
PATIENCE_S = 180.0
REQUESTS = "bench/request"


class Relay:
    """Passes one connection on to the broker and counts the bytes that the host sends and receives."""

    def __init__(self, broker: str) -> None:
        self.sent = self.received = 0
        self._to = (LOOPBACK, urlsplit(broker).port or 1883)
        self._listener = socket.create_server((LOOPBACK, 0))
        self.url = f"mqtt://{LOOPBACK}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        host, _ = self._listener.accept()
        broker = socket.create_connection(self._to)
        for end in (host, broker):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            for readable in select.select([host, broker], [], [])[0]:
                data = readable.recv(1 << 18)
                if not data:
                    return
                if readable is host:
                    self.sent += len(data)
                    broker.sendall(data)
                else:
                    self.received += len(data)
                    host.sendall(data)


class Device:
    """A simulated device; `done` is set when it has the whole blob, `failure` says what was wrong with it."""

    def __init__(self, name: str, broker: str, ref: BlobRef) -> None:
        self.name, self.ref = name, ref
        self.done = threading.Event()
        self.failure = ""
        self._digests: tuple[bytes, ...] = ()
        self._todo = list(range(ref.chunks))
        self._parts: dict[int, bytes] = {}
        parts = urlsplit(broker)
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, name)
        self.client.on_message = lambda _client, _data, message: self.take(message.topic, message.payload)
        self.client.connect(parts.hostname or LOOPBACK, parts.port or 1883)
        self.client.loop_start()

    def begin(self) -> None:
        """Ask for the digest list; the chunks follow."""
        self.client.subscribe(topics.digests(self.ref.sha256), 1)

    def take(self, topic: str, payload: bytes) -> None:
        """Check what came, and ask for the next."""
        last = topic.rpartition("/")[2]
        if last == "digests":
            self._digests = blobs.parse_digests(self.ref, payload)
            for _ in range(min(WINDOW, len(self._todo))):
                self.ask(self._todo.pop(0))
            return
        index = int(last)
        if hashlib.sha256(payload).digest() != self._digests[index]:
            self.failure = f"chunk {index} is damaged"
        self._parts[index] = bytes(payload)
        self.forget(topic)
        if self._todo:
            self.ask(self._todo.pop(0))
        elif len(self._parts) == self.ref.chunks:
            self._finish()

    def ask(self, index: int) -> None:
        """Wait for one chunk from now on."""
        self.client.subscribe(topics.chunk(self.ref.sha256, index), 1)

    def forget(self, topic: str) -> None:
        """Wait for it no more."""
        self.client.unsubscribe(topic)

    def _finish(self) -> None:
        whole = b"".join(self._parts[i] for i in range(self.ref.chunks))
        if hashlib.sha256(whole).hexdigest() != self.ref.sha256:
            self.failure = "the blob is damaged"
        self.done.set()

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()


class AskingDevice(Device):
    """The peer's device: it asks the host for each chunk and is answered on topics of its own."""

    def begin(self) -> None:
        """Ask for the digest list; the chunks follow."""
        self.client.subscribe(f"bench/d/{self.name}/+", 1)
        self.client.publish(REQUESTS, f"{self.name} digests", 1)

    def ask(self, index: int) -> None:
        """Ask the host for one chunk."""
        self.client.publish(REQUESTS, f"{self.name} {index}", 1)

    def forget(self, topic: str) -> None:
        """Nothing to forget: the answers all come on one subscription."""


@contextmanager
def retained_chunks(relay: Relay, ref: BlobRef, data: bytes) -> Iterator[None]:
    """Skerry's host: publishes once, through the plane's own link and messages."""
    link = Link(relay.url, "host-retained", (), lambda _: None)
    link.start()
    assert link.publish(blob_messages(ref, data))
    yield
    link.stop()


@contextmanager
def request_response(relay: Relay, ref: BlobRef, data: bytes) -> Iterator[None]:
    """The peer's host: answers every request of every device."""
    chunks = [*blobs.split(data, ref.chunk_bytes)]
    digests = blobs.digest_list(data, ref.chunk_bytes)
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    parts = urlsplit(relay.url)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "host-answers")
    client.max_inflight_messages_set(64)
    client.on_message = lambda _client, _data, message: requests.put(message.payload.decode())
    client.connect(parts.hostname or LOOPBACK, parts.port or 1883)
    client.subscribe(REQUESTS, 1)
    client.loop_start()

    def answer() -> None:
        while request := requests.get():
            device, _, wanted = request.partition(" ")
            payload = digests if wanted == "digests" else chunks[int(wanted)]
            client.publish(f"bench/d/{device}/{wanted}", payload, 1)

    thread = threading.Thread(target=answer)
    thread.start()
    yield
    requests.put("")
    thread.join()
    client.disconnect()
    client.loop_stop()


def measure(broker: str, data: bytes, count: int, host: Callable, device: type[Device]) -> dict[str, float | int | str]:
    """Bring the blob to all devices; how long it took and what the host sent and received."""
    ref = blobs.describe(data)
    relay = Relay(broker)
    devices = [device(f"{device.__name__.lower()}-{i:03d}", broker, ref) for i in range(count)]
    started = time.perf_counter()
    with host(relay, ref, data):
        for one in devices:
            one.begin()
        late = sum(not one.done.wait(max(0.0, started + PATIENCE_S - time.perf_counter())) for one in devices)
        seconds = time.perf_counter() - started
    for one in devices:
        one.close()
    failures = {one.failure for one in devices if one.failure}
    if late or failures:
        raise SystemExit(f"{host.__name__}: {late} devices did not finish; {', '.join(failures)}")
    return {
        "host_sent_bytes": relay.sent,
        "host_received_bytes": relay.received,
        "host_bytes_over_blob": round((relay.sent + relay.received) / len(data), 4),
        "seconds": round(seconds, 3),
    }


def main() -> int:
    """Run both ways and print the figures; exit 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--megabytes", type=float, default=4)
    options = parser.parse_args()
    program = find_mosquitto()
    if program is None:
        print("error: this benchmark needs mosquitto; install it", file=sys.stderr)
        return 2
    data = os.urandom(int(options.megabytes * 1024 * 1024))
    with tempfile.TemporaryDirectory() as folder, Mosquitto(Path(folder), 0, program) as broker:
        ours = measure(broker.url, data, options.devices, retained_chunks, Device)
        peer = measure(broker.url, data, options.devices, request_response, AskingDevice)
    met = ours["host_bytes_over_blob"] <= GOAL
    figures = {
        "benchmark": "fanout",
        "devices": options.devices,
        "blob_bytes": len(data),
        "chunk_bytes": blobs.CHUNK_BYTES,
        "skerry_retained_chunks": ours,
        "peer_request_response": peer,
        "goal": f"host bytes / blob bytes <= {GOAL}",
        "met": met,
    }
    print(json.dumps(figures, indent=2))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
