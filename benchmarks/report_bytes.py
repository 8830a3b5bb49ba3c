"""What telemetry costs a device on the wire: bytes of a report, and of a day with everything that belongs to it.

A day is what a real supervisor says in 24 hours of a clock that a program turns: its reports, its asking for orders,
the receipts that the host's rule sends it, the pings that the keep-alive then needs. What each costs is counted on a
real TLS connection of the agent's own link with mosquitto, by the kernel: bytes with TLS records, and TCP segments in
both directions, of which each has 52 bytes of IPv4 and TCP header with timestamps. Beside it the form before: reports
as JSON each 10 s, a receipt for each.

    python benchmarks/report_bytes.py [--repeats 30]
"""

import argparse
import datetime as dt
import functools
import ipaddress
import random
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from goals import Goal, finish, skip
from msgspec.structs import replace
from paho.mqtt.enums import CallbackAPIVersion

sys.path.append(str(Path(__file__).resolve().parents[1]))
from skerry_agent.ports.runner_protocol import Heartbeat
from skerry_agent.supervisor.link import KEEPALIVE_S, METERED_KEEPALIVE_S, MqttLink
from skerry_agent.supervisor.link_security import LinkSecurity
from skerry_agent.wire import codec, topics
from skerry_agent.wire.broker_url import BrokerUrl
from skerry_agent.wire.report_forms import READ, decode_report
from skerry_agent.wire.sketch import Recorder
from skerry_agent.wire.telemetry import Receipt, Report, Stored
from skerry_host.plane.broker.broker import LOOPBACK, find_mosquitto, free_port
from skerry_host.plane.ingest.receipts import Unconfirmed
from tests.kit.reports import typical_report
from tests.kit.site import Site

DAY_S = 86_400
HEADERS = 52
"""IPv4 (20) and TCP (20) with timestamps (12), of each segment."""

CONNECTS = 2
"""So often a day a connection is lost and made anew."""

DEVICE = "dev-1"
DESIRED_BYTES, REPORTED_BYTES = 900, 800
"""What the broker sends each time that orders are asked for: a signed desired state of one model; and what the device
says of itself after each connect."""


# -- what a device says in a day -------------------------------------------------------------------------------------


@dataclass
class Load:
    """A device: how many inferences it makes a minute, and whether its link is metered."""

    name: str
    inferences: int
    metered: bool = False


LOADS = (
    Load("typical", 100),
    Load("busy", 6000),
    Load("idle", 0),
    Load("metered", 100, metered=True),
)


@dataclass
class Day:
    """What was said: reports as they were sent, receipts, how often orders were asked for, and pings."""

    reports: list[bytes]
    receipts: list[bytes]
    asks: int
    pings: int


class _Board:
    """Meters with some noise, as sensors have."""

    def __init__(self) -> None:
        self._random = random.Random(7)

    def samples(self, _pids: list[int], _duration_s: float, _accelerator_s: float = 0.0) -> list[Any]:
        samples = typical_report(0).samples
        return [replace(each, value=each.value * self._random.uniform(0.985, 1.015)) for each in samples]

    def active_energy(self, cpu_s: float, accelerator_s: float = 0.0) -> None:
        """Nothing."""

    def undervoltage_since(self, at: float) -> None:
        """Nobody looks."""


def a_day(load: Load, folder: Path) -> Day:
    """24 hours of a supervisor between fakes; its reports are confirmed as the host would."""
    site = Site(folder, meters=_Board(), metered=load.metered)
    telemetry = site.agent._telemetry  # noqa: SLF001 - in the place of a runner
    day, spoke_at = Day([], [], 0, 0), [site.clock.now]
    unconfirmed = Unconfirmed()
    keepalive_s = METERED_KEEPALIVE_S if load.metered else KEEPALIVE_S
    tokens = iter(range(1, 10**9))

    def publish(topic: str, payload: bytes, *, retain: bool = False) -> int:  # noqa: ARG001
        token = next(tokens)
        spoke_at.append(site.clock.now)
        if topic == topics.telemetry(DEVICE):
            day.reports.append(payload)
            site.clock.after(0.1, lambda: site.agent.acked(token))
            site.clock.after(0.2, functools.partial(confirm, decode_report(payload)))
        return token

    def confirm(report: Report) -> None:
        nonlocal unconfirmed
        unconfirmed.reports += 1
        if unconfirmed.is_due(site.clock.wall()):
            unconfirmed = Unconfirmed(receipt_at=site.clock.wall())
            day.receipts.append(codec.encode(Receipt((Stored(report.boot, ((0, report.sequence),)),), READ)))
            site.agent.message(topics.receipt(DEVICE), day.receipts[-1])

    def subscribe(_topics: list[str]) -> None:
        day.asks += 1
        spoke_at.append(site.clock.now)

    site.link.publish, site.link.subscribe = publish, subscribe  # type: ignore[method-assign, assignment]
    site.agent.link_up()
    source = random.Random(1)
    for _ in range(0, DAY_S, 10):
        beat = _heartbeat(load.inferences / 6, source)
        telemetry.heartbeat("fashion", "fashion@1.1.0", 12_345.0, beat)
        site.clock.advance(10)
    gaps = zip(spoke_at, [*spoke_at[1:], site.clock.now], strict=True)
    day.pings = sum(int((later - earlier) / keepalive_s) for earlier, later in gaps)
    return day


def _heartbeat(inferences: float, source: random.Random) -> Heartbeat:
    recorder, outputs = Recorder(), dict[str, int]()
    count = int(inferences + source.random()) if inferences else 0
    for _ in range(count):
        recorder.add(source.lognormvariate(5.5, 0.25))
        answer = str(source.randrange(10))
        outputs[answer] = outputs.get(answer, 0) + 1
    return Heartbeat(count, 0, 0, 0, recorder.take(), 0.0, 61 * 2**20, 0.1, outputs)


# -- what each of it costs -------------------------------------------------------------------------------------------


class Wire:
    """The agent's link to a broker over TLS, and what its socket has carried."""

    def __init__(self, port: int, ca_file: Path) -> None:
        self.link = MqttLink(
            BrokerUrl("mqtts", LOOPBACK, port), DEVICE, lambda _n: ("will", b"x"), LinkSecurity(ca_file)
        )
        self.client = self.link._client  # noqa: SLF001 - its socket counts
        self.up = threading.Event()
        self.link.start(lambda call: call(), self.up.set, lambda _topic, _payload: None, lambda _token: None)
        if not self.up.wait(10):
            raise SystemExit("no connection to the broker")
        time.sleep(0.3)

    def carried(self) -> int:
        """Bytes in both directions since the connection began, headers and all."""
        connection: Any = self.client.socket()
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 144)
        acked, received, out_segments, in_segments = struct.unpack_from("<QQII", info, 120)
        return int(acked + received + HEADERS * (out_segments + in_segments))

    def cost(self, act: Callable[[int], object], repeats: int) -> float:
        """Mean bytes of one act, with what answers it; each is over before the next begins."""
        before = self.carried()
        for place in range(repeats):
            act(place)
            time.sleep(0.15)  # also for acknowledgements that TCP delays
        return (self.carried() - before) / repeats


@contextmanager
def broker(folder: Path) -> Iterator[tuple[int, Path, int]]:
    """Mosquitto with TLS for the device, and a plain port beside for the host: (TLS port, authority, plain port)."""
    program = find_mosquitto()
    if program is None:
        skip("report_bytes", "mosquitto is not installed")
    certificate, key = _certificate(folder)
    secure, plain = free_port(), free_port()
    conf = folder / "mosquitto.conf"
    conf.write_text(
        f"listener {secure} {LOOPBACK}\ncertfile {certificate}\nkeyfile {key}\nlistener {plain} {LOOPBACK}\n"
        "allow_anonymous true\nlog_dest none\nset_tcp_nodelay true\nuser root\n"
    )
    process = subprocess.Popen([program, "-c", str(conf)], stderr=subprocess.DEVNULL)
    time.sleep(0.7)
    try:
        yield secure, certificate, plain
    finally:
        process.kill()
        process.wait()


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of P-256, as small as they are in use, that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, LOOPBACK)])
    now = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(hours=1))
    made = made.not_valid_after(now + dt.timedelta(days=2)).add_extension(address, critical=False)
    paths = folder / "broker.crt", folder / "broker.key"
    paths[0].write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    kind, no_password = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, no_password))
    return paths


class Costs:
    """The bytes of each exchange on the wire."""

    def __init__(self, wire: Wire, host: mqtt.Client, repeats: int) -> None:
        self._wire, self._host, self._repeats = wire, host, repeats
        orders = [topics.desired(DEVICE), topics.command(DEVICE)]
        self._host.publish(orders[0], b"x" * DESIRED_BYTES, 1, retain=True)
        time.sleep(0.2)

        def ask(_place: int) -> None:
            wire.link.unsubscribe(orders)
            wire.link.subscribe([*orders, topics.receipt(DEVICE)])

        hello = wire.cost(lambda _place: wire.link.publish("reported", b"x" * REPORTED_BYTES), 1)
        self.connect = wire.carried() + hello
        self.ask = wire.cost(ask, 5)
        self.ping = wire.cost(lambda _place: wire.client._send_pingreq(), 5)  # noqa: SLF001

    def report(self, payloads: list[bytes]) -> float:
        """A report, with its acknowledgement."""
        link, topic = self._wire.link, topics.telemetry(DEVICE)
        return self._wire.cost(lambda n: link.publish(topic, payloads[n % len(payloads)]), self._repeats)

    def receipt(self, payload: bytes) -> float:
        """A receipt, with the device's acknowledgement."""
        return self._wire.cost(lambda _place: self._host.publish(topics.receipt(DEVICE), payload, 1), self._repeats)


@dataclass
class Total:
    """Bytes of a day, by what they are for."""

    reports: float
    receipts: float
    asks: float
    pings: float
    connects: float

    @property
    def all(self) -> float:
        """Everything."""
        return self.reports + self.receipts + self.asks + self.pings + self.connects


def today(load: Load, day: Day, costs: Costs) -> Total:
    """What the day costs."""
    typical = random.Random(3).sample(day.reports, min(len(day.reports), 30))
    return Total(
        reports=len(day.reports) * costs.report(typical),
        receipts=len(day.receipts) * costs.receipt(day.receipts[-1]),
        asks=(day.asks + (3 if load.metered else 9) * (CONNECTS - 1)) * costs.ask,  # more often after each connect
        pings=day.pings * costs.ping,
        connects=CONNECTS * costs.connect,
    )


def before(load: Load, costs: Costs) -> tuple[int, Total]:
    """Bytes of a report, and of the day, as it was: JSON each 10 s, and a receipt for each."""
    count, asks = DAY_S // 10, 48 + 9 * CONNECTS
    report = codec.encode(typical_report(load.inferences // 6))
    receipt = codec.encode(Receipt((Stored("0123456789abcdef", ((0, 4711),)),)))
    reports, receipts = count * costs.report([report]), count * costs.receipt(receipt)
    return len(report), Total(reports, receipts, asks * costs.ask, 0.0, CONNECTS * costs.connect)


def measure(load: Load, costs: Costs, folder: Path) -> tuple[list[Goal], dict[str, Any]]:
    """The goals of one load, and what they are made of."""
    day = a_day(load, folder)
    total, (json_bytes, was) = today(load, day, costs), before(load, costs)
    sizes = [len(report) for report in day.reports]
    limit = 100_000 if load.metered else 1_000_000
    goals = [
        Goal(f"{load.name}: a report", statistics.median(sizes), 400, "B", peer=f"{json_bytes} B as JSON"),
        Goal(f"{load.name}: a day", round(total.all), limit, "B", peer=f"{was.all / 1e6:.1f} MB before"),
    ]
    details = {"reports": len(sizes), "receipts": len(day.receipts), "asks": day.asks, "pings": day.pings}
    details |= {"largest_report": max(sizes[1:]), **{f"{name}_bytes": round(b) for name, b in asdict(total).items()}}
    return goals, details


def main() -> None:
    """Measure and end by the goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    repeats = parser.parse_args().repeats
    goals, details = [], dict[str, Any]()
    with tempfile.TemporaryDirectory() as name, broker(Path(name)) as (secure, authority, plain):
        host = mqtt.Client(CallbackAPIVersion.VERSION2)
        host.connect(LOOPBACK, plain)
        host.loop_start()
        wire = Wire(secure, authority)
        costs = Costs(wire, host, repeats)
        details["costs"] = {"connect": costs.connect, "ask": costs.ask, "ping": costs.ping}
        for load in LOADS:
            more, details[load.name] = measure(load, costs, Path(name) / load.name)
            goals += more
        wire.link.stop()
        host.loop_stop()
    finish("report_bytes", goals, details)


if __name__ == "__main__":
    main()
