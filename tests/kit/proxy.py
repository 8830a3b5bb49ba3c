"""A proxy between an agent and a real broker that understands MQTT's framing and does what networks do. Data, not code,
says what: a `Fault`. No tests here.

What goes from the broker to the device passes through the faults; what the device says is only cut off with it. Runs in
a thread of its own, so that tests are plain code. Counts every byte that it hands to the device.
"""

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass

PUBLISH, PUBACK = 3, 4
SLICE, QUICK_SLICE = 4096, 65536
"""What is handed on at once, on a slow link and on others."""


@dataclass(frozen=True)
class Fault:
    """What happens. Positions are bytes handed to the device since the proxy began; shares are of PUBLISH packets,
    `lost_acks` is of the acknowledgements of what the device publishes.

    cut_at: the connection breaks after so many bytes, once for each. black_hole_at: from there on nothing passes in
    either direction, and nobody is told, until the device connects anew. half_open_at: the same, but the broker hears.
    deaf_s: for so long after the first connection breaks, connections are accepted and never answered.
    restart_at: not the proxy's: there the case restarts the broker.
    """

    cut_at: tuple[int, ...] = ()
    black_hole_at: tuple[int, ...] = ()
    half_open_at: tuple[int, ...] = ()
    restart_at: tuple[int, ...] = ()
    deaf_s: float = 0.0
    delay_s: float = 0.0
    bits_per_s: float | None = None
    duplicate: float = 0.0
    reorder: float = 0.0
    drop: float = 0.0
    flip: float = 0.0
    lost_acks: float = 0.0
    garbage: bytes = b""
    """Sent once, after the first PUBLISH."""
    seed: int = 0


class Proxy:
    """Listens on `port` while it is entered, on any free one where that is 0."""

    def __init__(self, broker_port: int, fault: Fault = Fault(), port: int = 0) -> None:
        self.port = port
        self.to_device = 0
        self.publishes = 0
        self.connections = 0
        self.fault = fault
        self._broker_port = broker_port
        self._random = random.Random(fault.seed)
        self._cuts = sorted((at, kind) for kind in ("cut", "black_hole", "half_open") for at in _positions(fault, kind))
        self._garbage = fault.garbage
        self._deaf_until = 0.0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Proxy":
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    async def _connection(self, device: asyncio.StreamReader, to_device: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if self._loop.time() < self._deaf_until:
                await device.read(-1)
                return
            broker, to_broker = await asyncio.open_connection("127.0.0.1", self._broker_port)
            downstream = _Downstream(self, broker, to_device, to_broker)
            up = asyncio.create_task(_copy(device, downstream))
            down = asyncio.create_task(downstream.run())
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if downstream.silent:  # the device must find out by itself
                await asyncio.wait({up})
            for task in (up, down):
                task.cancel()
            to_broker.close()
        to_device.close()

    def next_break(self) -> tuple[int, str] | None:
        """The next position at which something breaks, and how."""
        return self._cuts[0] if self._cuts else None

    def broke(self) -> None:
        """It has broken there."""
        self._cuts.pop(0)
        if self.fault.deaf_s and not self._deaf_until:
            self._deaf_until = self._loop.time() + self.fault.deaf_s

    def passing(self, packet: bytes) -> Iterator[bytes]:
        """What becomes of a packet."""
        chance, fault = self._random.random, self.fault
        if packet[0] >> 4 != PUBLISH:
            if packet[0] >> 4 != PUBACK or chance() >= fault.lost_acks:
                yield packet
            return
        self.publishes += 1
        if chance() < fault.drop:
            return
        if chance() < fault.flip:
            packet = self._flipped(packet)
        yield packet
        if chance() < fault.duplicate:
            yield packet
        if self._garbage:
            garbage, self._garbage = self._garbage, b""
            yield garbage

    def holds_back(self, packet: bytes) -> bool:
        """Whether a packet is overtaken by the next."""
        return packet[0] >> 4 == PUBLISH and self._random.random() < self.fault.reorder

    def _flipped(self, packet: bytes) -> bytes:
        """One bit of the payload, which is what follows topic and packet id."""
        header = 1 + next(i for i in range(1, 5) if packet[i] < 128)
        start = header + 2 + int.from_bytes(packet[header : header + 2]) + 2
        if start >= len(packet):
            return packet
        at = self._random.randrange(start, len(packet))
        return packet[:at] + bytes([packet[at] ^ 1 << self._random.randrange(8)]) + packet[at + 1 :]


def _positions(fault: Fault, kind: str) -> tuple[int, ...]:
    found: tuple[int, ...] = getattr(fault, f"{kind}_at")
    return found


class _BrokenError(OSError):
    """The connection breaks here."""


class _Downstream:
    """From the broker to the device, through the faults."""

    def __init__(
        self,
        proxy: Proxy,
        broker: asyncio.StreamReader,
        to_device: asyncio.StreamWriter,
        to_broker: asyncio.StreamWriter,
    ) -> None:
        self.silent = False
        self._proxy, self._broker = proxy, broker
        self.to_broker, self._to_device = to_broker, to_device

    async def run(self) -> None:
        """Until it breaks."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            held: bytes | None = None
            while True:
                packet = await self._packet(patient=held is None)
                if packet is not None and held is None and self._proxy.holds_back(packet):
                    held = packet
                    continue
                for each in (packet, held):
                    for passing in self._proxy.passing(each) if each is not None else ():
                        await self._write(passing)
                held = None

    async def _packet(self, *, patient: bool) -> bytes | None:
        """One whole packet; None when something is held back and nothing follows soon."""
        try:
            head = await asyncio.wait_for(self._broker.readexactly(1), None if patient else 0.05)
        except TimeoutError:
            return None
        length, shift = 0, 0
        while True:
            byte = await self._broker.readexactly(1)
            head += byte
            length |= (byte[0] & 127) << shift
            shift += 7
            if byte[0] < 128:
                return head + await self._broker.readexactly(length)

    async def _write(self, data: bytes) -> None:
        proxy = self._proxy
        if proxy.fault.delay_s:
            await asyncio.sleep(proxy.fault.delay_s)
        step = SLICE if proxy.fault.bits_per_s else QUICK_SLICE
        for start in range(0, len(data), step):
            await self._write_slice(data[start : start + step])

    async def _write_slice(self, data: bytes) -> None:
        proxy = self._proxy
        broken = proxy.next_break()
        if broken is not None and proxy.to_device + len(data) > broken[0]:
            await self._hand(data[: max(0, broken[0] - proxy.to_device)])
            proxy.broke()
            self.silent = broken[1] != "cut"
            if broken[1] == "half_open":
                self.to_broker.close()
            raise _BrokenError
        await self._hand(data)
        if proxy.fault.bits_per_s:
            await asyncio.sleep(8 * len(data) / proxy.fault.bits_per_s)

    async def _hand(self, data: bytes) -> None:
        self._proxy.to_device += len(data)
        self._to_device.write(data)
        await self._to_device.drain()


async def _copy(device: asyncio.StreamReader, downstream: _Downstream) -> None:
    """What the device says, to the broker; into nothing once the connection is silent."""
    with contextlib.suppress(OSError):
        while data := await device.read(65536):
            if not downstream.silent:
                downstream.to_broker.write(data)
                await downstream.to_broker.drain()
