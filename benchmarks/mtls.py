"""What identities cost the broker: connects by certificate, a reload with 10,000 revoked devices, a blob to 50 devices.

mosquitto as `skerry serve` starts it, and beside it, in the same run, nats-server on what `skerry broker export nats`
writes for 10,000 devices, and iotcore, which knows no certificates. Devices are raw sockets, so that they cost little;
they share the machine with the broker all the same. Fan-out: retained chunks, over which each device slides a window.
Goals: 300 connects/s, and a revocation in force within 5 s of 10,000 before it. The rest is for the decision which
broker comes with the wheel (docs/decisions/0024-the-broker.md).

    python benchmarks/mtls.py [--connects 600] [--names 10000] [--devices 50]
"""

import argparse
import multiprocessing
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from goals import Goal, finish, skip

from skerry_agent.wire.broker_url import parse
from skerry_host.identity.authority import Authority
from skerry_host.identity.files import PlaneFiles, plane_identity
from skerry_host.plane.broker.access import Access
from skerry_host.plane.broker.broker import Embedded, find_mosquitto, free_port
from skerry_host.plane.broker.canary import Door, verdict
from skerry_host.plane.broker.connection import Connection
from skerry_host.plane.broker.export import nats
from skerry_host.plane.broker.export.place import Place
from skerry_host.plane.broker.rules import Rules
from skerry_host.plane.broker.secured import Ports, Secured

CONNECT = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02"
"""MQTT 3.1.1, clean session; a client id of two letters follows."""
CHUNK, CHUNKS, WINDOW = 64 * 1024, 64, 8
CALLERS = 2
CONNECTS_GOAL, RELOAD_GOAL_S = 300.0, 5.0


@dataclass(frozen=True)
class Site:
    """An authority, the plane's files, and certificates of devices."""

    folder: Path
    files: PlaneFiles
    authority: Authority
    pems: tuple[Path, ...]


@dataclass(frozen=True)
class Running:
    """A broker that answers: its process, and the port for devices."""

    pid: int
    port: int

    @property
    def cpu_s(self) -> float:
        """Of the process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident_mb(self) -> float:
        """Memory of the process now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def make_site(folder: Path, devices: int) -> Site:
    """Certificates for so many devices, signed as enrolment signs them."""
    now = time.time()
    files = plane_identity(folder / "identity", [], now)
    authority = Authority.open(folder / "identity", now)
    return Site(folder, files, authority, tuple(device_pem(folder, authority, number) for number in range(devices)))


def device_pem(folder: Path, authority: Authority, number: int) -> Path:
    """The certificate and key of one device."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    made = authority.device(request.public_bytes(Encoding.DER), f"edge-{number}")
    file = folder / f"edge-{number}.pem"
    file.write_bytes(made.pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file


@contextmanager
def mosquitto(site: Site, access: Access) -> Iterator[tuple[Running, Secured]]:
    """As `skerry serve` runs it."""
    program = find_mosquitto()
    if program is None:
        skip("mtls", "mosquitto is not installed")
    broker = Secured(program, site.folder / "broker", site.files, Ports(0, 0, 0), None)
    broker.write(broker.content(Rules(access, site.authority.revocation_list(()))))
    with broker:
        assert broker.operation.pid
        yield Running(broker.operation.pid, broker.operation.port), broker


@contextmanager
def nats_server(site: Site, access: Access) -> Iterator[tuple[Running, Path]]:
    """On what is exported for it."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = shutil.which("nats-server", path=places)
    if program is None:
        skip("mtls", "nats-server is not installed")
    place = Place(site.folder / "nats", free_port(), free_port())
    place.folder.mkdir()
    for target, source in (
        (place.server, site.files.server_cert),
        (place.chain, site.files.chain),
        (place.enrolment_chain, site.files.enrolment_chain),
    ):
        target.write_bytes(source.read_bytes())
    for name, text in nats.setup(place).items():
        (place.folder / name).write_text(text)
    write_nats(place, access)
    process = subprocess.Popen([program, "-c", place.folder / "nats.conf"], stderr=subprocess.DEVNULL)
    try:
        await_port(place.operation)
        yield Running(process.pid, place.operation), place.folder
    finally:
        process.terminate()
        process.wait()


def write_nats(place: Place, access: Access) -> None:
    """The users."""
    for name, data in nats.rules(Rules(access, b""), place).items():
        (place.folder / name).write_bytes(data)


def await_port(port: int, patience_s: float = 60.0) -> None:
    """Until somebody listens there."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nobody listens on port {port}")


def connects_per_s(site: Site, running: Running, total: int) -> tuple[float, float]:
    """Connects by certificate a second of two processes of callers, and the broker's CPU for one, in milliseconds."""
    before, began = running.cpu_s, time.monotonic()
    share = total // CALLERS
    with multiprocessing.get_context("fork").Pool(CALLERS) as pool:
        ca, pems = str(site.files.ca), map(str, site.pems[:CALLERS])
        pool.starmap(call_often, [(ca, pem, running.port, share, b"c%d" % n) for n, pem in enumerate(pems)])
    took_s = time.monotonic() - began
    return share * CALLERS / took_s, (running.cpu_s - before) / (share * CALLERS) * 1000


def call_often(ca: str, pem: str, port: int, times: int, client_id: bytes) -> None:
    """Connect, be accepted, go: a full handshake each time."""
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(pem)

    for _ in range(times):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
                secured.sendall(CONNECT + client_id)
                answer = secured.recv(4)
                if answer[:1] != b"\x20" or answer[3:4] != b"\x00":
                    raise SystemExit(f"a connect to port {port} was refused: {answer!r}")


def door_of(site: Site, port: int) -> Door:
    """Where the canary comes to operation."""
    way = Connection(
        parse(f"mqtts://127.0.0.1:{port}"), None, None, site.files.ca, site.files.canary_cert, site.files.canary_key
    )
    return Door("operation", way)


def seconds_until_in_force(door: Door, label: str, begin: Callable[[], object]) -> float:
    """From the call of `begin` until the canary comes through; infinite where it does not within a minute."""
    began = time.monotonic()
    begin()
    return time.monotonic() - began if verdict(door, label, 60.0) == "in_force" else float("inf")


def fan_out_s(url: str, files: PlaneFiles | None, pems: tuple[Path, ...], devices: int) -> float:
    """Until each of so many devices has 4 MB in retained chunks of 64 kB."""
    waiting = [Reader(url, files, pems[number] if files else None, number) for number in range(devices)]
    plane = client(url, files, files.plane_cert if files else None, "@plane")
    try:
        began = time.monotonic()
        for index in range(CHUNKS):
            plane.publish(f"skerry/v1/blob/{'ab' * 32}/{index}", os.urandom(CHUNK), 1, retain=True)
        deadline = began + 120.0
        while any(reader.left for reader in waiting) and time.monotonic() < deadline:
            time.sleep(0.02)
        return float("inf") if any(reader.left for reader in waiting) else time.monotonic() - began
    finally:
        for each in (plane, *(reader.client for reader in waiting)):
            each.disconnect()
            each.loop_stop()


class Reader:
    """A device that slides a window of topics over what it lacks, as the agent does."""

    def __init__(self, url: str, files: PlaneFiles | None, pem: Path | None, number: int) -> None:
        self.left = set(range(CHUNKS))
        self._next = iter(range(CHUNKS))
        self.client = client(url, files, pem, f"edge-{number}")
        self.client.on_message = lambda _c, _d, message: self._took(message.topic)
        for _ in range(WINDOW):
            self._ask()

    def _took(self, topic: str) -> None:
        self.client.unsubscribe(topic)
        index = int(topic.rpartition("/")[2])
        if index in self.left:
            self.left.discard(index)
            self._ask()

    def _ask(self) -> None:
        index = next(self._next, None)
        if index is not None:
            self.client.subscribe(f"skerry/v1/blob/{'ab' * 32}/{index}", 1)


def client(url: str, files: PlaneFiles | None, pem: Path | None, name: str) -> mqtt.Client:
    """Connected, with its network thread."""
    made = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name)
    if files is not None:
        context = ssl.create_default_context(cafile=str(files.ca))
        context.load_cert_chain(str(pem))
        made.tls_set_context(context)
    parsed = parse(url)
    made.connect(parsed.host, parsed.port)
    made.loop_start()
    deadline = time.monotonic() + 20
    while not made.is_connected():
        if time.monotonic() > deadline:
            raise SystemExit(f"{name} was not let in")
        time.sleep(0.005)
    return made


def main() -> None:
    """Measure one broker after the other."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--connects", type=int, default=600)
    parser.add_argument("--names", type=int, default=10_000)
    parser.add_argument("--devices", type=int, default=50)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        site = make_site(Path(folder), options.devices)
        goals = _mosquitto(site, options, found)
        goals = [*goals, *_nats(site, options, found)]
        iotcore = stack.enter_context(Embedded(0))
        seconds = fan_out_s(iotcore.url, None, site.pems, options.devices)
        assert iotcore.pid
        running = Running(iotcore.pid, iotcore.port)
        found["iotcore"] = {"fan_out_s": seconds, "resident_mb": running.resident_mb, "tls": False}
    goals[0] = Goal(**{**vars(goals[0]), "peer": f"nats-server {found['nats']['connects_per_s']:.0f}"})
    finish("mtls", goals, found)


def _mosquitto(site: Site, options: argparse.Namespace, found: dict[str, Any]) -> list[Goal]:
    with mosquitto(site, Access(version=1)) as (running, broker):
        rate, cpu_ms = connects_per_s(site, running, options.connects)
        fan_out = fan_out_s(broker.url, site.files, site.pems, options.devices)
        memory = running.resident_mb
        revoked = Access(frozenset(f"gone-{number}" for number in range(options.names)), version=2)
        serials = [(f"{number + 1:032x}", time.time()) for number in range(options.names)]
        rules = Rules(revoked, site.authority.revocation_list(serials))

        def revoke() -> None:
            broker.write(broker.content(rules))
            broker.reload(frozenset())

        reload_s = seconds_until_in_force(door_of(site, running.port), rules.label, revoke)
        after, _ = connects_per_s(site, running, options.connects)
    found["mosquitto"] = {
        "connects_per_s": rate,
        "broker_cpu_ms_of_a_connect": cpu_ms,
        "fan_out_s": fan_out,
        "resident_mb": memory,
        "reload_s": reload_s,
        "connects_per_s_after_it": after,
    }
    return [
        Goal("connects by certificate", rate, CONNECTS_GOAL, "/s", ">="),
        Goal("connects by certificate of a second of the broker's CPU", 1000 / cpu_ms, CONNECTS_GOAL, "", ">="),
        Goal(f"connects with {options.names} revoked", after, CONNECTS_GOAL, "/s", ">="),
        Goal(f"revocation in force with {options.names} revoked", reload_s, RELOAD_GOAL_S, "s"),
    ]


def _nats(site: Site, options: argparse.Namespace, found: dict[str, Any]) -> list[Goal]:
    names = frozenset(f"edge-{number}" for number in range(options.names))
    with nats_server(site, Access(members=names, version=1)) as (running, folder):
        rate, cpu_ms = connects_per_s(site, running, options.connects // 4)
        url = f"mqtts://127.0.0.1:{running.port}"
        fan_out = fan_out_s(url, site.files, site.pems, options.devices)
        memory = running.resident_mb
        access = Access(frozenset({"edge-9999"}), members=names - {"edge-9999"}, version=2)

        def revoke() -> None:
            write_nats(Place(folder, running.port, 1), access)
            os.kill(running.pid, signal.SIGHUP)

        reload_s = seconds_until_in_force(door_of(site, running.port), access.label, revoke)
        size = (folder / "operation-users.conf").stat().st_size
    found["nats"] = {
        "connects_per_s": rate,
        "broker_cpu_ms_of_a_connect": cpu_ms,
        "fan_out_s": fan_out,
        "resident_mb": memory,
        "reload_s": reload_s,
        "users_bytes": size,
    }
    return [Goal(f"NATS: revocation in force among {options.names} entries", reload_s, RELOAD_GOAL_S, "s")]


if __name__ == "__main__":
    main()
