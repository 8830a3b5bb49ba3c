"""The network's fault table: named rows of points, as data. Each point runs on its own and says what is broken.

`rows(folder)` yields them while the brokers that they need are up; the sweep runs every point, CI a few of each row.
`results` is the table for `tests.lab.sweep`.
"""

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from skerry_agent.wire.blobs import CHUNK_BYTES, MAX_CHUNKS, BlobRef, digest_list
from tests.kit.brokers import LimitedRetention, Mosquitto
from tests.kit.proxy import Fault, Proxy
from tests.net.bench import Device, Host, Plane, Result, blob, messages_of, problems, reference

SIZE = 2_000_000
CUTS = 200
RESTARTS = 50
BESIDE = 6
MOST_BYTES = 1.3
MOST_MEMORY_MB = 24.0
"""Above what a whole window of chunks and the interpreter's own growth take."""


@dataclass(frozen=True)
class Row:
    """A case of the table: `run(point)` returns what is broken, nothing if all is well. CI takes `sample` points.

    Points of one row run beside each other, as most of their time is waiting; `alone`: they must not.
    """

    case: str
    points: Sequence[Fault]
    run: Callable[[Fault], list[str]]
    sample: int = 1
    alone: bool = False

    def some(self) -> Sequence[Fault]:
        """Points for CI, evenly spread."""
        step = len(self.points) // self.sample
        return self.points[step // 2 :: step][: self.sample]


@dataclass
class Scene:
    """A broker that holds a blob, and devices that fetch it."""

    folder: Path
    broker: Mosquitto
    data: bytes
    chunk_bytes: int = CHUNK_BYTES
    asked: bool = False
    plane: Plane | None = None
    numbers: Iterator[int] = field(default_factory=count)

    @property
    def ref(self) -> BlobRef:
        return reference(self.data, self.chunk_bytes)

    def fetch(self, fault: Fault, deadline_s: float) -> tuple[Proxy, Device, Result]:
        """A new device fetches the blob through a proxy."""
        with Proxy(self.broker.port, fault) as proxy:
            device = self.device(proxy)
            return proxy, device, device.fetch(self.ref, deadline_s)

    def device(self, proxy: Proxy) -> Device:
        """A new one."""
        return Device(proxy.port, self.folder / f"device-{next(self.numbers)}", asked=self.asked)

    def arrives(self, fault: Fault, deadline_s: float = 60.0) -> list[str]:
        """The blob arrives whole, and every chunk is applied once."""
        _, device, result = self.fetch(fault, deadline_s)
        return problems(device, result, self.ref, self.data)

    def arrives_cheaply(self, fault: Fault) -> list[str]:
        """And within `MOST_BYTES` times its size, counted on the wire."""
        proxy, device, result = self.fetch(fault, 60.0)
        broken = problems(device, result, self.ref, self.data)
        share = proxy.to_device / len(self.data)
        return broken + ([f"{share:.2f} times its bytes"] if share > MOST_BYTES else [])

    def arrives_in_little_memory(self, fault: Fault) -> list[str]:
        """And however large what is sent in between says it is."""
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew (proc(5))
        before = _megabytes("VmRSS")
        broken = self.arrives(fault)
        grown = _megabytes("VmHWM") - before
        return broken + ([f"{grown:.0f} MB more memory"] if grown > MOST_MEMORY_MB else [])

    def ends(self, fault: Fault) -> list[str]:
        """It cannot arrive, and the fetch says so instead of going on for ever."""
        _, _, result = self.fetch(fault, 60.0)
        return [] if result.ended == "too_much_in_vain" else [f"ended {result.ended} after {result.seconds:.1f} s"]

    def arrives_over_a_restart(self, fault: Fault) -> list[str]:
        """The broker is stopped and started again when so many bytes have come."""
        (at,) = fault.restart_at
        with Proxy(self.broker.port, fault) as proxy:
            device = self.device(proxy)
            restarting = threading.Thread(target=_when, args=(proxy, at, self._restart_broker))
            restarting.start()
            result = device.fetch(self.ref, 60.0)
            restarting.join()
        missed = ["it had arrived before"] if proxy.connections < 2 else []
        return missed + problems(device, result, self.ref, self.data)

    def _restart_broker(self) -> None:
        self.broker.stop()
        self.broker.start()

    def arrives_over_another_plane(self, fault: Fault) -> list[str]:
        """The plane that answers ends when so many bytes have come, and another one takes its place."""
        (at,) = fault.restart_at
        with Proxy(self.broker.port, fault) as proxy:
            device = self.device(proxy)
            restarting = threading.Thread(target=_when, args=(proxy, at, self._restart_plane))
            restarting.start()
            result = device.fetch(self.ref, 60.0)
            restarting.join()
        return problems(device, result, self.ref, self.data)

    def _restart_plane(self) -> None:
        assert self.plane is not None
        self.plane.close()
        self.plane = Plane(self.broker.port, self.folder / "store", self.data, self.chunk_bytes)

    def arrives_by(self, *transports: str) -> Callable[[Fault], list[str]]:
        """And its pieces have come by these transports, one after the other."""

        def arrives(fault: Fault) -> list[str]:
            _, device, result = self.fetch(fault, 60.0)
            other = [] if result.transports == transports else [f"came by {result.transports}"]
            return other + problems(device, result, self.ref, self.data)

        return arrives


def _when(proxy: Proxy, at: int, act: Callable[[], None]) -> None:
    """Act when so many bytes have reached the device."""
    deadline = time.monotonic() + 30
    while proxy.to_device < at and time.monotonic() < deadline:
        time.sleep(0.002)
    act()


def _megabytes(field_name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field_name)).split()[1]) / 1024


@contextlib.contextmanager
def scene(
    folder: Path,
    size: int = SIZE,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    persistent: bool = False,
    spoil: Callable[[dict[str, bytes]], None] | None = None,
) -> Iterator[Scene]:
    """A broker with the blob on it; its host publishes again after a restart, unless the broker keeps what it has."""
    with Mosquitto(folder / "broker", persistent=persistent) as broker:
        made = Scene(folder, broker, blob(size), chunk_bytes)
        retained = messages_of(made.data, made.ref)
        if spoil is not None:
            spoil(retained)
        host = Host(broker.port)
        host.retain(retained)
        if persistent:
            host.close()
        try:
            yield made
        finally:
            if not persistent:
                host.close()


def _spread(points: int) -> list[int]:
    """Positions over the whole transfer, its first and last bytes among them."""
    total = SIZE + 4000
    return [round(i * total / (points - 1)) for i in range(points)]


def _oversize(length: int) -> bytes:
    """A PUBLISH of so many bytes, or as much of it as shows whether somebody keeps them."""
    head, left = bytearray([0x30]), length
    while left:
        left, low = divmod(left, 128)
        head.append(low | (128 if left else 0))
    return bytes(head) + bytes(min(length, 64_000_000))


MALFORMED = {
    "length without end": b"\x30\xff\xff\xff\xff\xff\xff",
    "reserved type": b"\xf0\x00",
    "type zero": b"\x00\x00",
    "topic longer than its packet": b"\x30\x04\xff\xffab",
    "topic that is not UTF-8": b"\x30\x06\x00\x03\xff\xfe\xfdx",
    "empty PUBLISH": b"\x30\x00",
    "PUBACK without id": b"\x40\x00",
    "SUBACK without codes": b"\x90\x02\x00\x01",
    "QoS 3": b"\x36\x06\x00\x01a\x00\x01x",
    "second CONNACK": b"\x20\x02\x00\x00",
    "noise": blob(3000, "noise"),
}


def _wrong_digests(retained: dict[str, bytes]) -> None:
    """The digest list says another number of chunks, the largest that fits a packet."""
    topic = next(topic for topic in retained if topic.endswith("/digests"))
    retained[topic] = digest_list(blob(SIZE))[:-32] + bytes(32 * MAX_CHUNKS)


def _long_chunk(retained: dict[str, bytes]) -> None:
    """A chunk that is longer than a chunk may be."""
    retained[next(topic for topic in retained if topic.endswith("/3"))] = blob(1_000_000, "long")


@contextlib.contextmanager
def asked_scene(
    folder: Path, size: int = SIZE, *, chunk_bytes: int = CHUNK_BYTES, broker: type[Mosquitto] = Mosquitto
) -> Iterator[Scene]:
    """A broker that retains nothing of the blob, and a plane that answers; devices ask at once."""
    with broker(folder / "broker") as running:
        made = Scene(folder, running, blob(size), chunk_bytes, asked=True)
        made.plane = Plane(running.port, folder / "store", made.data, chunk_bytes)
        try:
            yield made
        finally:
            made.plane.close()


@contextlib.contextmanager
def limited_scene(folder: Path, broker: type[Mosquitto], kept: Callable[[str], bool]) -> Iterator[Scene]:
    """The host retains all of the blob as ever, but the broker holds only some of it; devices are told nothing of it.

    What is not `kept` is cleared again, as a broker does that evicts: nobody is told.
    """
    with asked_scene(folder, broker=broker) as made:
        made.asked = False
        host = Host(made.broker.port)
        retained = messages_of(made.data, made.ref)
        host.retain(retained)
        host.retain({topic: b"" for topic in retained if not kept(topic)})
        try:
            yield made
        finally:
            host.close()


def _small_ones(topic: str) -> bool:
    return topic.endswith("/digests")


def _first_ones(topic: str) -> bool:
    return topic.endswith(("/digests", "/0", "/1", "/2", "/3", "/4", "/5"))


@contextlib.contextmanager
def rows(folder: Path) -> Iterator[list[Row]]:
    """The table. Every point takes about a second."""
    with contextlib.ExitStack() as stack:

        def at(name: str, size: int = SIZE, **how: Any) -> Scene:
            return stack.enter_context(scene(folder / name, size, **how))

        plain, keeps, forgets = at("plain"), at("keeps", persistent=True), at("forgets")
        middle, small = at("middle", 600_000, chunk_bytes=16 * 1024), at("small", 260_000, chunk_bytes=16 * 1024)
        wrong, long = at("wrong", spoil=_wrong_digests), at("long", spoil=_long_chunk)
        asks = stack.enter_context(asked_scene(folder / "asks"))
        asks_middle = stack.enter_context(asked_scene(folder / "asks-middle", 600_000, chunk_bytes=16 * 1024))
        asks_small = stack.enter_context(asked_scene(folder / "asks-small", 130_000))
        refused = stack.enter_context(limited_scene(folder / "refused", LimitedRetention, lambda _topic: True))
        small_only = stack.enter_context(limited_scene(folder / "small-only", Mosquitto, _small_ones))
        evicted = stack.enter_context(limited_scene(folder / "evicted", Mosquitto, _first_ones))
        share = 0.3
        mixed = [{"duplicate": share}, {"reorder": share}, {"drop": share}, {"flip": share}]
        mixed.append({key: value for each in mixed for key, value in each.items()})
        breaks = _spread(10)
        slow = [Fault(bits_per_s=256_000), Fault(delay_s=0.1)]
        yield [
            Row("30 cut after N bytes", [Fault(cut_at=(n,)) for n in _spread(CUTS)], plain.arrives_cheaply, 8),
            Row("30 cut five times", [Fault(cut_at=tuple(_spread(7)[1:6]))], plain.arrives),
            Row(
                "31 duplicate, reorder, drop, flip 30 %",
                [Fault(seed=seed, **each) for each in mixed for seed in range(10)],
                middle.arrives,
                5,
            ),
            Row("32 broker restarted, persistent", _restarts(), keeps.arrives_over_a_restart, alone=True),
            Row("32 broker restarted, forgetful", _restarts(), forgets.arrives_over_a_restart, alone=True),
            Row("33 black hole", [Fault(black_hole_at=(n,)) for n in breaks], plain.arrives),
            Row("33 half open", [Fault(half_open_at=(n,)) for n in breaks], plain.arrives),
            Row("33 deaf for 3 s", [Fault(half_open_at=(n,), deaf_s=3.0) for n in breaks[:3]], plain.arrives),
            Row("33 256 kbit/s", slow[:1], small.arrives),
            Row("33 100 ms a packet", slow[1:], small.arrives_cheaply),
            Row("30 asked: cut after N bytes", [Fault(cut_at=(n,)) for n in _spread(CUTS)], asks.arrives_cheaply, 4),
            Row("30 asked: cut five times", [Fault(cut_at=tuple(_spread(7)[1:6]))], asks.arrives),
            Row(
                "31 asked: duplicate, reorder, drop, flip 30 %",
                [Fault(seed=seed, **each) for each in mixed for seed in range(10)],
                asks_middle.arrives,
                5,
            ),
            Row("32 asked: broker restarted", _restarts(), asks.arrives_over_a_restart, alone=True),
            Row("32 asked: plane restarted", _restarts()[::5], asks.arrives_over_another_plane, alone=True),
            Row("33 asked: black hole", [Fault(black_hole_at=(n,)) for n in breaks], asks.arrives),
            Row("33 asked: half open", [Fault(half_open_at=(n,)) for n in breaks], asks.arrives),
            Row("33 asked: deaf for 3 s", [Fault(half_open_at=(n,), deaf_s=3.0) for n in breaks[:3]], asks.arrives),
            Row("33 asked: 256 kbit/s, 100 ms a packet", slow, asks_small.arrives, 2),
            Row("retained chunks refused", [Fault(), Fault(cut_at=(SIZE // 2,))], refused.arrives_by("asked")),
            Row("retained: digest list only", [Fault()], small_only.arrives_by("retained", "asked")),
            Row("retained: later chunks evicted", [Fault(), Fault(drop=0.3)], evicted.arrives_by("retained", "asked")),
            Row(
                "34 oversize packet",
                [Fault(garbage=_oversize(length)) for length in (3_000_000, 100_000_000, 268_000_000)],
                plain.arrives_in_little_memory,
                alone=True,
            ),
            Row("34 malformed packet", [Fault(garbage=each) for each in MALFORMED.values()], plain.arrives, 3),
            Row("34 wrong number of chunks", [Fault()], wrong.ends),
            Row("34 chunk too long", [Fault()], long.ends),
        ]


Outcome = tuple[str, int, list[str], float]


def results(*, sample: bool) -> list[Outcome]:
    """(case, points, what is broken, seconds) of every row, for the sweep's table.

    In a sample, where a row is a point or two and mostly waits, rows run beside each other, too.
    """
    with tempfile.TemporaryDirectory(prefix="skerry-net-") as folder, rows(Path(folder)) as table:
        together = [row for row in table if sample and not row.alone]
        with ThreadPoolExecutor(BESIDE) as pool:
            found = dict(zip((row.case for row in together), pool.map(_sampled, together), strict=True))
        return [found.get(row.case) or _outcome(row, row.some() if sample else row.points) for row in table]


def _sampled(row: Row) -> Outcome:
    return _outcome(row, row.some())


def _outcome(row: Row, points: Sequence[Fault]) -> Outcome:
    began = time.monotonic()
    with ThreadPoolExecutor(1 if row.alone else BESIDE) as pool:
        broken = [
            f"{row.case}: {at}: {line}"
            for at, lines in zip(points, pool.map(row.run, points), strict=True)
            for line in lines
        ]
    return row.case, len(points), broken, time.monotonic() - began


def _restarts() -> list[Fault]:
    """A transfer of a second, restarted before nine tenths of it: the last ones may already be on their way."""
    return [Fault(restart_at=(n * 9 // 10,), bits_per_s=8 * SIZE) for n in _spread(RESTARTS)]
