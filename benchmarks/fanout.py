"""What it costs the host to bring one blob to N devices over MQTT.

Both of Skerry's ways in one run over one mosquitto, with the plane's own link, messages and answers in a process of its
own: each chunk published once and retained, while devices slide a window of exact topics over it; and every device
asking for every chunk, which is what peers do for every transfer. The host's bytes are counted where they leave it: a
relay between its socket and the broker counts both directions. Every device checks every chunk's hash and the blob's,
and asks again, like the product's, for a piece that has not come within `AGAIN_S`: a broker may drop what it was given.
The blob is seeded. Goals: every device has it, and the host's bytes for retained chunks.

    python benchmarks/fanout.py [--devices 50] [--megabytes 4]
"""

import argparse
import hashlib
import multiprocessing
import random
import select
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from goals import Goal, finish, skip
from paho.mqtt.enums import CallbackAPIVersion

from skerry_agent.wire import blobs, codec, topics
from skerry_agent.wire.asking import Ask, Piece, parse_answer
from skerry_agent.wire.blobs import BlobRef
from skerry_host.plane.broker.broker import LOOPBACK, Mosquitto, find_mosquitto
from skerry_host.plane.broker.link import Incoming, Link
from skerry_host.plane.delivery.answers import Answers
from skerry_host.plane.delivery.publish import blob_messages
from skerry_host.release.store import Store

WINDOW = 8
GOAL = 1.05
PATIENCE_S = 180.0
AGAIN_S = 5.0
"""As the product's devices: see `skerry_agent.fetch`."""


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
        self._awaited: dict[Piece, float] = {}
        self._lock = threading.Lock()
        self.asked_again = 0
        parts = urlsplit(broker)
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, name)
        self.client.on_message = lambda _client, _data, message: self.take(message.topic, message.payload)
        self.client.connect(parts.hostname or LOOPBACK, parts.port or 1883)
        self.client.loop_start()

    def begin(self) -> None:
        """Ask for the digest list; the chunks follow."""
        self._want(None)

    def remind(self, now: float) -> None:
        """Ask again for what has not come."""
        with self._lock:
            late = [piece for piece, since in self._awaited.items() if now - since > AGAIN_S]
            for piece in late:
                self.asked_again += 1
                self.forget(piece)
                self._want(piece)

    def _want(self, piece: Piece) -> None:
        self._awaited[piece] = time.monotonic()
        self.ask(piece)

    def take(self, topic: str, payload: bytes) -> None:
        """Take a retained piece."""
        last = topic.rpartition("/")[2]
        self.got(None if last == "digests" else int(last), payload)

    def got(self, piece: Piece, data: bytes) -> None:
        """Check what came, and ask for the next; what came already, or empty, is passed over."""
        with self._lock:
            if data and self._awaited.pop(piece, None) is not None:
                self.forget(piece)
                self._keep(piece, data)

    def _keep(self, piece: Piece, data: bytes) -> None:
        if piece is None:
            self._digests = blobs.parse_digests(self.ref, data)
            for _ in range(min(WINDOW, len(self._todo))):
                self._want(self._todo.pop(0))
            return
        if hashlib.sha256(data).digest() != self._digests[piece]:
            self.failure = f"chunk {piece} is damaged"
        self._parts[piece] = bytes(data)
        if self._todo:
            self._want(self._todo.pop(0))
        elif len(self._parts) == self.ref.chunks:
            self._finish()

    def ask(self, piece: Piece) -> None:
        """Wait for one piece from now on."""
        self.client.subscribe(self._topic(piece), 1)

    def forget(self, piece: Piece) -> None:
        """Wait for it no more."""
        self.client.unsubscribe(self._topic(piece))

    def _topic(self, piece: Piece) -> str:
        return topics.digests(self.ref.sha256) if piece is None else topics.chunk(self.ref.sha256, piece)

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
    """It asks the host for each chunk and is answered on a topic of its own."""

    def begin(self) -> None:
        """Ask for the digest list; the chunks follow."""
        self.client.subscribe(topics.piece(self.name, self.ref.sha256), 1)
        super().begin()

    def take(self, _topic: str, payload: bytes) -> None:
        """Take an answer, which names its piece."""
        piece, data = parse_answer(payload)
        self.got(piece, data)

    def ask(self, piece: Piece) -> None:
        """Ask the host for one piece."""
        self.client.publish(topics.ask(self.name), codec.encode(Ask(self.name, self.ref.sha256, (piece,))), 1)

    def forget(self, piece: Piece) -> None:
        """Nothing to forget: the answers all come on one subscription."""


def retain_chunks(url: str, data: bytes, _devices: list[str], until: Connection) -> None:
    """The host of the one way: publishes once."""
    link = Link(url, "host-retained", (), lambda _: None)
    link.start()
    began = time.process_time()
    assert link.publish(blob_messages(blobs.describe(data), data))
    _end(until, began)
    link.stop()


def answer_devices(url: str, data: bytes, devices: list[str], until: Connection) -> None:
    """The host of the other way: answers every question of every device."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        ref = store.put(data)

        def receive(message: Incoming) -> None:
            answers.take(message)
            link.acknowledge([message])

        link = Link(url, "host-asked", (topics.ALL_ASKS,), receive)
        answers = Answers(store, link.publish)
        needs = {ref.sha256: ref}
        answers.allow(dict.fromkeys(devices, needs))
        link.start()
        began = time.process_time()
        thread = threading.Thread(target=answers.run)
        thread.start()
        _end(until, began)
        answers.stop()
        thread.join()
        link.stop()


def _end(until: Connection, began: float) -> None:
    """Say that it has begun, wait until it is enough, and tell what it cost: seconds of CPU, MB at most."""
    until.send(None)
    until.recv()
    until.send((time.process_time() - began, _most_mb()))


def _most_mb() -> float:
    """Of this program; what getrusage says also covers the parent that forked it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _wait(devices: Sequence[Device], until: float) -> int:
    """Wait for all of them, reminding those that wait themselves; how many have not finished."""
    while (left := [one for one in devices if not one.done.wait(0)]) and time.monotonic() < until:
        for one in left:
            one.remind(time.monotonic())
        left[0].done.wait(0.5)
    return len(left)


Host = Callable[[str, bytes, list[str], Connection], None]


def measure(broker: str, data: bytes, count: int, host: Host, device: type[Device]) -> dict[str, float]:
    """Bring the blob to all devices; how long it took, and what the host sent, received and computed."""
    ref = blobs.describe(data)
    relay = Relay(broker)
    names = [f"{device.__name__.lower()}-{i:03d}" for i in range(count)]
    devices = [device(name, broker, ref) for name in names]
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=host, args=(relay.url, data, names, there))
    process.start()
    started = time.perf_counter()
    here.recv()
    for one in devices:
        one.begin()
    late = _wait(devices, time.monotonic() + PATIENCE_S)
    seconds = time.perf_counter() - started
    here.send(None)
    cpu_s, most_mb = here.recv()
    process.join()
    for one in devices:
        one.close()
    return {
        "unfinished": late,
        "damaged": sum(bool(one.failure) for one in devices),
        "asked_again": sum(one.asked_again for one in devices),
        "host_sent_bytes": relay.sent,
        "host_received_bytes": relay.received,
        "host_bytes_over_blob": round((relay.sent + relay.received) / len(data), 4),
        "host_cpu_s": round(cpu_s, 3),
        "host_most_mb": round(most_mb, 1),
        "seconds": round(seconds, 3),
    }


def main() -> NoReturn:
    """Run both ways; exit 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--megabytes", type=float, default=4)
    options = parser.parse_args()
    program = find_mosquitto()
    if program is None:
        skip("fanout", "mosquitto is not installed")
    data = random.Random(1).randbytes(int(options.megabytes * 1024 * 1024))
    with tempfile.TemporaryDirectory() as folder, Mosquitto(Path(folder), 0, program) as broker:
        retained = measure(broker.url, data, options.devices, retain_chunks, Device)
        asked = measure(broker.url, data, options.devices, answer_devices, AskingDevice)
    left = sum(side["unfinished"] + side["damaged"] for side in (retained, asked))
    peer = f"{asked['host_bytes_over_blob']:g} where every device asks for every chunk"
    goals = [
        Goal("host's bytes for retained chunks / blob", retained["host_bytes_over_blob"], GOAL, "", peer=peer),
        Goal("devices without the whole blob", left, 0, "devices"),
    ]
    details = {"devices": options.devices, "blob_bytes": len(data), "retained_chunks": retained, "asked_chunks": asked}
    finish("fanout", goals, details)


if __name__ == "__main__":
    main()
