"""Does the inference API serve many clients fairly, and as quickly as it did? MobileNetV1 0.25 128, binary tensors.

Clients on kept-alive connections over loopback ask again as soon as they are answered, 1, 16, 200 and 600 of them. Fair
is what the least served client gets of what the median one gets. The peer of the same run is the server of before
(commit BEFORE, out of git), a thread for each of 64 connections; the two take turns. Of 1 and 16 clients, whom both
serve, the median time to an answer is compared; of 200, of whom the one before leaves 136 waiting, how long the median
client waits between answers, and in `details` also the median of the answers alone. Last, health is asked while 600
clients keep the model busy. Measures no client library and no supervisor.
"""

import argparse
import contextlib
import io
import json
import math
import os
import select
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from goals import Goal, finish, skip
from real_bundle import MOBILENET_V1, lay_bundle

from skerry_agent.ports import runner_protocol
from skerry_agent.wire import codec
from skerry_agent.wire.manifest import Bundle

ROOT = Path(__file__).resolve().parents[1]
BEFORE = "f0bc4e52819beab3995780c1ce55d28c100294b8"
"""The last commit with a thread for each connection."""
CROWDS = (1, 16, 200, 600)
COMPARED = (1, 16)
FAIR = 0.5
HEALTH = b"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Client:
    """One client, and what it got. `peer` is not connected where the server takes no more."""

    peer: socket.socket = field(default_factory=socket.socket)
    connected: bool = False
    asked_at: float = 0.0
    got: bytes = b""
    waits_s: list[float] = field(default_factory=list)

    def ask(self, request: bytes) -> None:
        """Send one request."""
        self.got, self.asked_at = b"", monotonic()
        self.peer.sendall(request)

    def take(self) -> bool:
        """Read what has come; True when that completes an answer."""
        data = self.peer.recv(65536)
        if not data:
            raise ConnectionError("the server has closed a busy connection")
        self.got += data
        end = self.got.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self.got[:end].lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(self.got) < end + 4 + length:
            return False
        if not self.got.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"unexpected answer: {self.got[:80]!r}")
        self.waits_s.append(monotonic() - self.asked_at)
        return True


@contextlib.contextmanager
def before(folder: Path) -> Iterator[Path | None]:
    """The agent of before, None where git does not have it."""
    command = ["git", "-C", str(ROOT), "archive", BEFORE, "agent"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        yield None
        return
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    yield folder / "agent"


@contextlib.contextmanager
def runner(code: Path, folder: Path, bundle: Bundle) -> Iterator[tuple[str, int]]:
    """A real runner with the agent of `code`: the address that it serves on."""
    control, theirs = socket.socketpair()
    with control, theirs, socket.create_server(("127.0.0.1", 0), backlog=512) as tcp, control.makefile("rb") as lines:
        job = runner_protocol.Job("bench", "bench@1.0.0", str(folder), bundle, listen_fd=tcp.fileno())
        command = [sys.executable, "-m", "skerry_agent.runner", "--control-fd", str(theirs.fileno())]
        environment = os.environ | {"PYTHONPATH": str(code)}
        files = (theirs.fileno(), tcp.fileno())
        with subprocess.Popen(command, pass_fds=files, stderr=subprocess.DEVNULL, env=environment) as child:
            control.sendall(codec.encode(job) + b"\n" + codec.encode(runner_protocol.Accept()) + b"\n")
            while not isinstance(codec.decode(lines.readline(), runner_protocol.FromRunner), runner_protocol.Accepting):  # type: ignore[arg-type]
                pass
            try:
                yield tcp.getsockname()
            finally:
                child.kill()


@contextlib.contextmanager
def crowd(address: tuple[str, int], number: int) -> Iterator[list[Client]]:
    """So many clients, those connected whom the server and its queue take."""
    with contextlib.ExitStack() as stack:
        clients = [Client() for _ in range(number)]
        for client in clients:
            try:
                client.peer = stack.enter_context(socket.create_connection(address, timeout=1))
            except TimeoutError:  # nor would the others
                break
            client.connected = True
            client.peer.settimeout(30)
            client.peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield clients


def press(clients: list[Client], request: bytes, seconds: float, address: tuple[str, int] | None = None) -> list[float]:
    """Let all of them ask on for so long; with an address, ask there for health all the while: the times it took."""
    poller, by_file = select.epoll(), {client.peer.fileno(): client for client in clients if client.connected}
    for file in by_file:
        poller.register(file, select.EPOLLIN)
    health = Client(socket.create_connection(address, timeout=30), connected=True) if address is not None else None
    if health is not None:
        by_file[health.peer.fileno()] = health
        poller.register(health.peer, select.EPOLLIN)
    for client in list(by_file.values()):
        client.ask(HEALTH if client is health else request)
    ends = monotonic() + seconds
    while monotonic() < ends:
        for file, _ in poller.poll(ends - monotonic()):
            client = by_file[file]
            if client.take():
                client.ask(HEALTH if client is health else request)
    poller.close()
    if health is None:
        return []
    health.peer.close()
    return health.waits_s


def settle(address: tuple[str, int], request: bytes) -> None:
    """Wait until the server has answered what the crowd before has left in its line."""
    with socket.create_connection(address, timeout=30) as peer:
        last = Client(peer)
        last.ask(request)
        while not last.take():
            pass


def measured(clients: list[Client], seconds: float) -> dict[str, float]:
    """What they got: answers of the least and the median client, how long that one waits, times to an answer."""
    counts = sorted(len(client.waits_s) for client in clients)
    waits = sorted(wait for client in clients for wait in client.waits_s)
    median = statistics.median(counts)
    return {
        "connected": sum(client.connected for client in clients),
        "answers_per_s": round(len(waits) / seconds, 1),
        "least": counts[0],
        "median": median,
        "most": counts[-1],
        "median_client_waits_ms": round(1000 * seconds / median, 2) if median else math.inf,
        "p50_ms": round(1000 * statistics.median(waits), 3) if waits else math.inf,
    }


def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """Each crowd at each server, in turns."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        (folder / "bundle").mkdir()
        bundle, golden = lay_bundle(folder / "bundle", MOBILENET_V1)
        request = _request(bundle, golden.inputs[0][0].tobytes())
        (folder / "before").mkdir()
        old = stack.enter_context(before(folder / "before"))
        if old is None:
            skip("http_fairness", f"git has no commit {BEFORE} here")
        servers = {"now": ROOT / "agent", "before": old}
        where = {which: stack.enter_context(runner(code, folder / "bundle", bundle)) for which, code in servers.items()}
        found: dict[str, Any] = {which: {} for which in servers}
        for number in CROWDS:
            takes = _take_turns(where, number, request, seconds, rounds if number in COMPARED else 1)
            for which, each in takes.items():
                found[which][str(number)] = min(each, key=lambda one: one["p50_ms"])
        with crowd(where["now"], CROWDS[-1]) as clients:
            waits = press(clients, request, seconds, where["now"])
        found["health_ms"] = {"p50": 1000 * statistics.median(waits), "worst": 1000 * max(waits), "asked": len(waits)}
    return found


def _take_turns(
    where: dict[str, tuple[str, int]], number: int, request: bytes, seconds: float, rounds: int
) -> dict[str, list[dict[str, float]]]:
    takes: dict[str, list[dict[str, float]]] = {which: [] for which in where}
    for at in range(rounds):
        for which in sorted(where, reverse=bool(at % 2)):
            with crowd(where[which], number) as clients:
                press(clients, request, seconds)
                takes[which].append(measured(clients, seconds))
            settle(where[which], request)
    return takes


def _request(bundle: Bundle, data: bytes) -> bytes:
    tensor = bundle.inputs[0]
    entry = {"name": tensor.name, "shape": tensor.shape, "datatype": "UINT8"}
    entry["parameters"] = {"binary_data_size": len(data)}
    head = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    lines = f"POST /v2/models/bench/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(head) + len(data)}\r\n"
    return f"{lines}Inference-Header-Content-Length: {len(head)}\r\n\r\n".encode() + head + data


def main() -> None:
    """Measure; ends by the goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each crowd")
    parser.add_argument("--rounds", type=int, default=4, help="of the crowds whose times are compared")
    arguments = parser.parse_args()
    if not MOBILENET_V1.exists():
        skip("http_fairness", f"no model at {MOBILENET_V1}: set SKERRY_REAL_MODELS")
    found = measure(arguments.seconds, arguments.rounds)
    now, old = found["now"], found["before"]
    goals = []
    for number in ("200", "600"):
        share, peer = (one[number]["least"] / max(1, one[number]["median"]) for one in (now, old))
        beside = f"before: {peer:.2f}, least {old[number]['least']}, most {old[number]['most']}"
        goals.append(Goal(f"what the least of {number} clients gets of the median one", share, FAIR, "", ">=", beside))
    for number in map(str, COMPARED):
        ratio = now[number]["p50_ms"] / old[number]["p50_ms"]
        beside = f"{now[number]['p50_ms']} ms, before {old[number]['p50_ms']} ms"
        goals.append(Goal(f"median time to an answer, {number} clients, over before", ratio, 1.05, "", peer=beside))
    waits = [one["200"]["median_client_waits_ms"] for one in (now, old)]
    beside = f"before: {waits[1]:g} (64 of 200 are served)"
    goals.append(Goal("the median of 200 clients waits for an answer", waits[0], waits[1], "ms", peer=beside))
    worst = found["health_ms"]["worst"]
    goals.append(Goal("health beside 600 busy clients, at worst", worst, 500, "ms"))
    finish("http_fairness", goals, found)


if __name__ == "__main__":
    main()
