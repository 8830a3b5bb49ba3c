"""What a fleet costs the host plane: `skerry serve` as a process, a real mosquitto, and simulated devices in another.

In one run: the plane at rest, with an open rollout to devices that are silent, what commands, pages and metrics take,
how many reports a second reach SQLite and whether each is stored once, and its memory when more come than it can write.
Beside that, the same reports into a bare paho subscriber that only counts. What a real agent's day costs on the wire is
measured by report_bytes.py, what a month takes on disk by telemetry_store.py.

    python benchmarks/plane.py [--devices 5000] [--quick]
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import text

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.goals import Goal, finish, skip  # noqa: E402
from skerry_agent.wire import topics  # noqa: E402
from skerry_host.fleet.policy import Policy  # noqa: E402
from skerry_host.home import Home, init_home  # noqa: E402
from skerry_host.plane.broker.broker import find_mosquitto  # noqa: E402
from skerry_host.plane.registry.database import Registry, open_registry  # noqa: E402
from skerry_host.plane.registry.records import devices, receipts  # noqa: E402
from skerry_host.plane.rollouts.intake import RolloutRequest, start_rollout  # noqa: E402
from tests.kit.commands import Serving, serving  # noqa: E402
from tests.kit.home import add_release, model_bytes  # noqa: E402
from tests.sim import mqtt  # noqa: E402
from tests.sim.enrol import enrol  # noqa: E402
from tests.sim.fleet import read_ledger  # noqa: E402
from tests.sim.scenario import Behaviour, Group, Scenario  # noqa: E402

RELEASE = "fashion@0.9.0"
"""What the devices run from the beginning; no rollout of this home has brought it."""

TICKS = os.sysconf("SC_CLK_TCK")
DAY_S = 86_400.0
PATIENCE_S = 300.0
TLS_RECORD_BYTES = 29
"""Of TLS 1.3 around each write; TCP and IP are not counted."""

SUBSCRIBER = """
import sys, time, paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
counted = 0
def message(client, data, message):
    global counted
    counted += 1
client = mqtt.Client(CallbackAPIVersion.VERSION2, "bare-subscriber")
client.on_connect = lambda client, *_: client.subscribe("skerry/v1/t/+/+", 1)
client.on_message = message
client.connect(sys.argv[1], int(sys.argv[2]))
client.loop_start()
print("ready", flush=True)
sys.stdin.readline()
print(counted, time.process_time(), flush=True)
client.loop_stop()
"""


@dataclass(frozen=True)
class Sizes:
    """How long each part takes."""

    devices: int
    rest_s: float
    load_s: float
    rate: float
    flood_reports: int


class Process:
    """What one process used, as the kernel counts it."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    @property
    def cpu_s(self) -> float:
        """User and system time."""
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def rss_mb(self) -> float:
        """Resident now."""
        lines = (self._folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000

    def percent_of_a_core(self, seconds: float) -> float:
        """Over the next seconds."""
        began, cpu_s = time.monotonic(), self.cpu_s
        time.sleep(seconds)
        return 100 * (self.cpu_s - cpu_s) / (time.monotonic() - began)


def get(page: str, path: str) -> tuple[float, int]:
    """(seconds, bytes) of one answer."""
    connection = http.client.HTTPConnection(urlsplit(page).netloc, timeout=120)
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, (path, answer.status)
    connection.close()
    return time.perf_counter() - began, len(body)


def counted(page: str) -> Counter[str]:
    """Messages by result, as the plane says."""
    connection = http.client.HTTPConnection(urlsplit(page).netloc, timeout=120)
    connection.request("GET", "/healthz")
    return Counter(json.loads(connection.getresponse().read())["messages"])


def best_of(times: int, command: list[str]) -> tuple[float, float]:
    """(seconds of CPU, seconds) of a command, start included: on a busy machine the two differ."""
    seconds = []
    for _ in range(times):
        began, before = time.perf_counter(), os.times()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment())
        used = os.times()
        cpu_s = used.children_user + used.children_system - before.children_user - before.children_system
        seconds.append((cpu_s, time.perf_counter() - began))
    return min(seconds)


def environment() -> dict[str, str]:
    """This source first."""
    paths = [str(ROOT / "host"), str(ROOT / "agent"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@contextmanager
def program(module: str, *arguments: str, stdin: int | None = None) -> "Iterator[subprocess.Popen[str]]":
    """A module in a process of its own, which does not outlive the block."""
    command = [sys.executable, *(["-m", module] if module else []), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=stdin, text=True, env=environment(), cwd=ROOT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
        for stream in (process.stdout, process.stdin):
            if stream is not None:
                stream.close()


def last_line(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """What a simulator says at its end."""
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    assert process.wait() == 0, "the simulator failed"
    return dict(json.loads(lines[-1]))


def eventually(check: Any, what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE_S:g} s: {what}")
        time.sleep(0.2)


class Bench:
    """One plane, and what was measured of it."""

    def __init__(self, home: Home, registry: Registry, plane: Serving, sizes: Sizes) -> None:
        self.home, self.registry, self.plane, self.sizes = home, registry, plane, sizes
        self.process = Process(plane.pid)
        self.goals: list[Goal] = []
        self.details: dict[str, Any] = {}
        self.rss_mb = 0.0

    def rest(self) -> None:
        """All devices connected; one report a minute each."""
        scenario = Scenario(
            (Group("sim", self.sizes.devices, Behaviour(runs=RELEASE, report_s=60.0, obeys=False)),), seconds=10_000
        )
        path = self.home.root / "rest.json"
        path.write_bytes(json_of(scenario))
        with program("tests.sim", "--scenario", str(path), "--broker", self.plane.broker) as fleet:
            eventually(lambda: self._online() >= self.sizes.devices, "all devices are online")
            time.sleep(5)
            before, cpu_s, began = counted(self.plane.page), self.process.cpu_s, time.monotonic()
            time.sleep(self.sizes.rest_s)
            seconds = time.monotonic() - began
            self.details["rest_percent"] = 100 * (self.process.cpu_s - cpu_s) / seconds
            self.details["rest_reports_per_s"] = (counted(self.plane.page) - before)["accepted"] / seconds
            self._answers()
            self.rss_mb = max(self.rss_mb, self.process.rss_mb)
            self.details["rest_rss_mb"] = self.rss_mb
            fleet.terminate()
            self._bytes(last_line(fleet))

    def _bytes(self, said: dict[str, Any]) -> None:
        """Of a report, and of a device's day: each goes with its topic and is acknowledged, over TLS."""
        a_report = said["report_bytes"] / max(1, said["reports_sent"])
        publish = len(mqtt.publish(topics.telemetry("sim-00000"), bytes(round(a_report)), 1))
        a_day = DAY_S / 60 * (publish + 4 + 2 * TLS_RECORD_BYTES)
        self.details["wire"] = {k: said[k] for k in ("reports_sent", "report_bytes", "bytes_sent", "bytes_received")}
        self.details["report_bytes"] = a_report
        self.goals.append(Goal("a device's day of reports, without pings and receipts", a_day / 1e6, 1.0, "MB"))
        self.goals.append(Goal("a report with one model", a_report, 400, "B"))

    def silence(self) -> None:
        """An open rollout to devices of which none is there."""
        release = add_release(self.home, "1.0.0", model_bytes("a", 400_000))
        began, cpu_s = time.monotonic(), self.process.cpu_s
        with self.registry.write() as session:
            request = RolloutRequest(release, devices.all_devices(session), "all", Policy())
            start_rollout(session, request, time.time())
        eventually(lambda: self._unsent() == 0, "all deployments are sent")
        self.details["admission_s"] = time.monotonic() - began
        self.details["admission_cpu_s"] = self.process.cpu_s - cpu_s
        time.sleep(5)
        percent = self.process.percent_of_a_core(self.sizes.rest_s)
        self.goals.append(Goal("an open rollout to silent devices", percent, 3.0, "% of a core", peer="63 % before"))
        self.rss_mb = max(self.rss_mb, self.process.rss_mb)

    def _answers(self) -> None:
        """Of the commands, the pages and the metrics, while devices report."""
        page = self.plane.page
        skerry = [sys.executable, "-m", "skerry_host.cli", "--home", str(self.home.root)]
        listed, self.details["device_list_s"] = best_of(3, [*skerry, "device", "list"])
        bare, _ = best_of(3, [sys.executable, "-c", "import skerry_host.cli.main, skerry_host.plane.views.gather"])
        self.goals.append(Goal("`skerry device list`", listed, 1.0, "s of CPU", peer=f"{bare:.2f} s to import it"))
        self.details["device_list_json_cpu_s"], _ = best_of(2, [*skerry, "device", "list", "--json"])
        first = self._metrics()
        self.goals.append(Goal("/metrics", min(self._metrics() for _ in range(3)), 0.3, "s of CPU"))
        self.details["metrics_first_cpu_s"] = first
        self.details["metrics_s"], self.details["metrics_bytes"] = min(get(page, "/metrics") for _ in range(3))
        for path in ("/", "/api/v1/overview", "/api/v1/devices", "/api/v1/devices?limit=1000"):
            seconds, size = min(get(page, path) for _ in range(3))
            self.details[f"GET {path}"] = {"seconds": seconds, "bytes": size}
        self.goals.append(Goal("/api/v1/overview", self.details["GET /api/v1/overview"]["bytes"] / 1e6, 1.0, "MB"))

    def _metrics(self) -> float:
        """CPU of the plane while it answers, whatever else it does meanwhile."""
        before = self.process.cpu_s
        get(self.plane.page, "/metrics")
        return self.process.cpu_s - before

    def load(self) -> None:
        """Reports at a steady rate, each of which must be stored once."""
        each = max(1, round(self.sizes.rate * self.sizes.load_s / self.sizes.devices))
        ledger, before = self.home.root / "load.ledger", counted(self.plane.page)["accepted"]
        arguments = ["--devices", self.sizes.devices, "--each", each, "--rate", self.sizes.rate, "--ledger", ledger]
        with program("tests.sim.pump", "--broker", self.plane.broker, *map(str, arguments)) as pump:
            assert pump.stdout is not None
            pump.stdout.readline()
            eventually(lambda: counted(self.plane.page)["accepted"] - before > 100, "reports arrive")
            cpu_s, began, first = self.process.cpu_s, time.monotonic(), counted(self.plane.page)["accepted"]
            goal = before + int(0.9 * each * self.sizes.devices)
            eventually(lambda: counted(self.plane.page)["accepted"] >= goal, "nine tenths are stored")
            seconds, stored = time.monotonic() - began, counted(self.plane.page)["accepted"] - first
            used = self.process.cpu_s - cpu_s
            said = last_line(pump)
        self.rss_mb = max(self.rss_mb, self.process.rss_mb)
        self._compare("load", ledger)
        self.details["load"] = {"offered_per_s": said["reports_sent"] / said["seconds"], "cpu_us": 1e6 * used / stored}
        self.goals.append(Goal("reports into SQLite", stored / seconds, 5000, "/s", ">=", peer=self._bare(each)))
        self.goals.append(Goal("reports into SQLite, of one core", stored / used, 5000, "/s of CPU", ">="))

    def flood(self) -> None:
        """More than it can write, in the older and larger form."""
        each = max(1, self.sizes.flood_reports // 200)
        ledger, most = self.home.root / "flood.ledger", 0.0
        arguments = ["--devices", "200", "--each", str(each), "--json", "--ledger", str(ledger)]
        connections = self._connections()
        with program("tests.sim.pump", "--broker", self.plane.broker, *arguments) as pump:
            while pump.poll() is None:
                most = max(most, self.process.rss_mb)
                time.sleep(0.1)
            said = last_line(pump)
        self._compare("flood", ledger)
        most = max(most, self.process.rss_mb)
        self.details["flood"] = {"offered_per_s": said["reports_sent"] / said["seconds"], "rss_mb": most}
        self.details["flood"]["reconnects"] = self._connections() - connections
        self.goals.append(Goal("memory of the plane", self.rss_mb, 250, "MB"))
        self.goals.append(Goal("memory under a flood", most, 250, "MB", peer="3,500 MB before"))

    def _compare(self, what: str, ledger: Path) -> None:
        """What the broker acknowledged and what is stored; and no report has two rows."""
        sent = read_ledger(ledger)
        names = {device for device, _, _ in sent}
        eventually(lambda: not sent - self._stored(names), f"all of {what} is stored")
        lost = (sent - self._stored(names)).total()
        rows = "SELECT count(*), count(DISTINCT boot || '/' || sequence) FROM telemetry_reports"
        with self.registry.read() as session:
            count, distinct = session.execute(text(rows)).one()
        self.goals.append(Goal(f"reports lost or doubled, {what}", lost + count - distinct, 0, f"of {len(sent)}"))

    def _stored(self, names: set[str]) -> Counter[tuple[str, str, int]]:
        with self.registry.read() as session:
            found = receipts.of(session, names)
        spans = ((d, b.boot, span) for d, receipt in found.items() for b in receipt.boots for span in b.spans)
        return Counter((d, boot, n) for d, boot, (first, last) in spans for n in range(first, last + 1))

    def _bare(self, each: int) -> str:
        """The same reports into a subscriber that only counts."""
        parts = urlsplit(self.plane.broker)
        with program("", "-c", SUBSCRIBER, str(parts.hostname), str(parts.port), stdin=subprocess.PIPE) as bare:
            assert bare.stdin is not None
            assert bare.stdout is not None
            bare.stdout.readline()
            arguments = ["--devices", self.sizes.devices, "--each", each, "--rate", self.sizes.rate]
            with program("tests.sim.pump", "--broker", self.plane.broker, *map(str, arguments)) as pump:
                said = last_line(pump)
            time.sleep(2)
            bare.stdin.write("\n")
            bare.stdin.flush()
            count, cpu_s = bare.stdout.readline().split()
        cost = 1e6 * float(cpu_s) / max(1, int(count))
        self.details["bare_subscriber"] = {"counted": int(count), "sent": said["reports_sent"], "cpu_us": cost}
        return f"a bare paho subscriber counts {int(count) / said['seconds']:.0f}/s at {cost:.0f} us each"

    def _online(self) -> int:
        with self.registry.read() as session:
            return int(session.execute(text("SELECT count(*) FROM twins WHERE online")).scalar_one())

    def _unsent(self) -> int:
        with self.registry.read() as session:
            return int(session.execute(text("SELECT count(*) FROM deployments WHERE sent IS NULL")).scalar_one())

    def _connections(self) -> int:
        connection = http.client.HTTPConnection(urlsplit(self.plane.page).netloc, timeout=120)
        connection.request("GET", "/healthz")
        return int(json.loads(connection.getresponse().read())["connections"])


def json_of(scenario: Scenario) -> bytes:
    """As `--scenario` reads it."""
    import msgspec  # noqa: PLC0415

    return msgspec.json.encode(scenario)


def main() -> None:
    """All parts in turn, then the goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=5000)
    parser.add_argument("--rate", type=float, default=6000.0, help="reports offered a second [6000]")
    parser.add_argument("--quick", action="store_true", help="a third of the time")
    given = parser.parse_args()
    if find_mosquitto() is None:
        skip("plane", "mosquitto is not installed")
    share = 3 if given.quick else 1
    sizes = Sizes(given.devices, 30.0 / share, 24.0 / share, given.rate, 240_000 // share)
    with tempfile.TemporaryDirectory(prefix="skerry-plane-") as folder:
        home = init_home(Path(folder) / "home")
        with open_registry(home.registry) as registry:
            enrol(registry, Scenario((Group("sim", sizes.devices),)))
            with serving(home, "--port", "0", "--http-port", "0") as plane:
                bench = Bench(home, registry, plane, sizes)
                bench.rest()
                bench.silence()  # before the flood: an hour of reports in seconds is an hour of rolling up as well
                bench.load()
                bench.flood()
                plane.stop()
    finish("plane", bench.goals, bench.details)


if __name__ == "__main__":
    main()
