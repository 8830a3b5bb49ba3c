"""Sends reports that were made beforehand, as fast as it is told: a load for the plane that costs its sender little.

`python -m tests.sim.pump --broker URL --devices N --each K --rate R`: K reports of each of N devices, R a second in all
(0: as fast as the broker acknowledges). The last line on standard output says what was sent and acknowledged, as JSON.
"""

import argparse
import asyncio
import json
import sys
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from skerry_agent.wire import codec, topics
from skerry_agent.wire.report_forms import encode_report
from skerry_agent.wire.sketch import Sketch
from skerry_agent.wire.telemetry import ModelStats, Report, Sample
from tests.sim import mqtt
from tests.sim.device import Ledger
from tests.sim.fleet import raise_file_limit, write_ledger
from tests.sim.scenario import Group

STEP_S = 0.02
WINDOW = 50
"""Unacknowledged reports of one device."""

PATIENCE_S = 60.0


@dataclass
class Sender:
    """One device, with the reports that it is going to send."""

    device: str
    boot: str
    reports: deque[bytes]
    connection: mqtt.Connection | None = None
    up: bool = False
    sent: int = 0
    in_flight: dict[int, int] = field(default_factory=dict)

    def send(self, ledger: Ledger) -> bool:
        """The next report; False when that is not possible now."""
        if not self.up or self.connection is None or not self.reports or len(self.in_flight) >= WINDOW:
            return False
        self.sent += 1
        raw = self.reports.popleft()
        ledger.counts["reports_sent"] += 1
        ledger.counts["report_bytes"] += len(raw)
        self.in_flight[self.connection.publish(topics.telemetry(self.device), raw)] = self.sent
        return True


def prepared(device: str, boot: str, count: int, *, packed: bool) -> deque[bytes]:
    """Reports of one device that are alike but for their number and time."""
    latency = Sketch({str(380 + n): n + 1 for n in range(12)}, 0, 160_000.0)
    stats = ModelStats(
        "fashion", "fashion@1.0.0", 78, 0, latency=latency, rss_bytes=43_000_000, energy_uj=4200.0,
        energy_source="modelled", energy_method="board coefficients",
    )  # fmt: skip
    samples = (
        Sample("power", 2.6, "W", "modelled", "board coefficients"),
        Sample("temperature", 51.5, "degC", "measured", "thermal_zone0"),
    )
    now = time.time()
    made = (Report(device, boot, n, now + n - count, float(n), 1.0, (stats,), samples) for n in range(1, count + 1))
    return deque(encode_report(each) if packed else codec.encode(each) for each in made)


class Pump:
    """All senders over one broker."""

    def __init__(self, broker: str, senders: list[Sender]) -> None:
        host, _, port = broker.removeprefix("mqtt://").rpartition(":")
        self._host, self._port = host, int(port)
        self._senders = senders
        self.ledger = Ledger()

    async def run(self, rate: float) -> dict[str, float]:
        """Connect all, send all, and wait for what is not acknowledged yet."""
        for first in range(0, len(self._senders), 20):
            await asyncio.gather(*map(self._connect, self._senders[first : first + 20]))
        began = time.monotonic()
        await self._send_all(rate, began)
        ended = time.monotonic()
        while any(sender.in_flight for sender in self._senders) and time.monotonic() < ended + PATIENCE_S:
            await asyncio.sleep(0.05)
        acked = sum(map(len, self.ledger.acked.values()))
        for sender in self._senders:
            if sender.connection is not None:
                sender.connection.write(mqtt.DISCONNECT)
        await asyncio.sleep(0.2)
        return {**self.ledger.counts, "reports_acked": acked, "seconds": ended - began}

    async def _send_all(self, rate: float, began: float) -> None:
        turn, sent = deque(self._senders), 0
        while turn:
            due = int(rate * (time.monotonic() - began)) - sent if rate else 20 * len(turn)
            for _ in range(max(0, min(due, 20 * len(turn)))):
                if not turn:
                    break
                sender = turn.popleft()
                sent += sender.send(self.ledger)
                if sender.reports:
                    turn.append(sender)
            await asyncio.sleep(STEP_S if rate else 0.0)

    async def _connect(self, sender: Sender) -> None:
        def acked(mid: int) -> None:
            sequence = sender.in_flight.pop(mid, None)
            if sequence is not None:
                self.ledger.acked.setdefault((sender.device, sender.boot), set()).add(sequence)

        def up() -> None:
            sender.up = True

        hello = mqtt.connect(sender.device, (f"pump/{sender.device}", b""), 600)
        handlers = mqtt.Handlers(up, lambda: None, lambda _topic, _payload: None, acked)
        connection = sender.connection = mqtt.Connection(hello, handlers)
        await asyncio.get_running_loop().create_connection(lambda: connection, self._host, self._port)


def main() -> int:
    """Make the reports, then send them."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.pump", description=__doc__)
    parser.add_argument("--broker", required=True)
    parser.add_argument("--name", default="sim", help="the group of the devices' names [sim]")
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--each", type=int, default=10, help="reports of each device [10]")
    parser.add_argument("--rate", type=float, default=0.0, help="reports a second in all [as fast as possible]")
    parser.add_argument("--json", action="store_true", help="the older form of reports")
    parser.add_argument("--ledger", type=Path)
    given = parser.parse_args()
    raise_file_limit(given.devices + 256)
    boot = uuid.uuid4().hex
    names = Group(given.name, given.devices).ids
    senders = [Sender(name, boot, prepared(name, boot, given.each, packed=not given.json)) for name in names]
    print("prepared", flush=True)
    pump = Pump(given.broker, senders)
    result = asyncio.run(pump.run(given.rate))
    if given.ledger:
        write_ledger(pump.ledger, given.ledger)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
