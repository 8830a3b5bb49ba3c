"""Runs a scenario's devices in one asyncio process against a real broker, and says what they did."""

import asyncio
import json
import random
import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.sim import mqtt
from tests.sim.device import KEEPALIVE_S, Ledger, SimDevice, World
from tests.sim.scenario import Scenario

SETTLE_S = 10.0
"""How long what is in flight at the end may take to be acknowledged."""


@dataclass(frozen=True)
class Address:
    """Where the broker listens."""

    host: str
    port: int


class Fleet:
    """The devices of a scenario; `run` them, and read the ledger."""

    def __init__(self, scenario: Scenario, broker: str, clock: Callable[[], float] = time.time) -> None:
        parts = urlsplit(broker)
        self._address = Address(parts.hostname or "127.0.0.1", parts.port or 1883)
        self._scenario, self._clock = scenario, clock
        self._tasks: set[asyncio.Task[Any]] = set()
        self.ledger = Ledger()
        self.devices: list[SimDevice] = []

    async def run(self, until: Callable[[], bool] = lambda: False) -> Ledger:
        """All of them for the scenario's time, or until a condition holds; then wait for what is in flight."""
        raise_file_limit(self._scenario.devices + 256)
        self._make()
        starting = self._spawn(self._start())
        ticking = self._spawn(self._keep_alive())
        end = time.monotonic() + self._scenario.seconds
        try:
            while time.monotonic() < end and not until():
                await asyncio.sleep(0.05)
            starting.cancel()
            for device in self.devices:
                device.hush()
            await self._settle()
        finally:
            ticking.cancel()
            for device in self.devices:
                device.stop()
            await asyncio.sleep(0.1)
        return self.ledger

    def summary(self) -> dict[str, Any]:
        """The figures of the ledger."""
        reports = sum(map(len, self.ledger.acked.values()))
        return {"devices": len(self.devices), "reports_acked": reports, **dict(sorted(self.ledger.counts.items()))}

    def _make(self) -> None:
        world = World(self._open, self._clock, random.Random(self._scenario.seed), self.ledger)
        groups = self._scenario.groups
        self.devices = [SimDevice(name, g.board, g.behaviour, world) for g in groups for name in g.ids]

    async def _start(self) -> None:
        """A few devices at a time: a listening socket's queue is short."""
        step = max(1, round(self._scenario.connect_per_s / 50))
        for first in range(0, len(self.devices), step):
            for device in self.devices[first : first + step]:
                device.start()
            await asyncio.sleep(step / self._scenario.connect_per_s)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(KEEPALIVE_S / 3)
            for device in self.devices:
                device.ping()

    async def _settle(self) -> None:
        end = time.monotonic() + SETTLE_S
        while any(device.unacked for device in self.devices) and time.monotonic() < end:
            await asyncio.sleep(0.05)

    def _open(self, connection: mqtt.Connection) -> None:
        self._spawn(self._opened(connection))

    async def _opened(self, connection: mqtt.Connection) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: connection, self._address.host, self._address.port)
        except OSError:
            self.ledger.counts["refused"] += 1
            connection.connection_lost(None)

    def _spawn(self, work: Any) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def write_ledger(ledger: Ledger, path: Path) -> None:
    """A JSON line for each boot of a device: what the broker has acknowledged of its reports."""
    with path.open("w", encoding="utf-8") as file:
        for (device, boot), sequences in ledger.acked.items():
            file.write(json.dumps([device, boot, sorted(sequences)]) + "\n")


def read_ledger(path: Path) -> Counter[tuple[str, str, int]]:
    """Every (device, boot, sequence) that must be stored once."""
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return Counter((device, boot, sequence) for device, boot, sequences in lines for sequence in sequences)


def raise_file_limit(wanted: int) -> None:
    """Allow as many open sockets as there are devices, as far as this system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard >= 0 else wanted, hard))
