"""What the agent costs a device: memory and idle processor time, beside bare Python and Python with paho. Prints JSON.

One run, one machine: a bare interpreter, one that has connected paho, a supervisor without a model, and one with
its runner serving MobileNetV2 224 int8 (a bundle laid into the state folder, so no host is needed). Memory is read from
/proc/PID/smaps_rollup: RSS counts shared libraries whole, PSS their share, so sums are of PSS. Idle time is user and
system time of the supervisor over --seconds with a broker connected and nothing to do. Measures no transfer.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from goals import Goal, finish
from real_bundle import INTERPRETER, MOBILENET_V2, lay_bundle

from skerry_agent.machine.records import Record, Slot, Slots
from skerry_agent.state.journal import Journal
from skerry_agent.state.slots import write_bundle
from skerry_host.plane.broker.broker import choose

START_S = 60.0
BARE = "print('ready', flush=True); input()"
PAHO = """
import sys
import paho.mqtt.client as mqtt
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
client.on_connect = lambda *_: print("ready", flush=True)
client.connect("127.0.0.1", int(sys.argv[1]))
client.loop_start()
input()
"""


def memory(pid: int) -> dict[str, float]:
    """Resident and proportional megabytes of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {words[0]: int(words[1]) for words in map(str.split, lines)}
    return {"rss_mb": round(kilobytes["Rss:"] / 1024, 1), "pss_mb": round(kilobytes["Pss:"] / 1024, 1)}


def peer(program: str, *arguments: str) -> dict[str, float]:
    """Memory of a Python process that has run `program`."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = memory(child.pid)
        child.communicate(b"\n")
    return found


@contextlib.contextmanager
def agent(folder: Path, broker: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """A running agent that is connected and serves what it holds: its pid and its status."""
    folder.mkdir(exist_ok=True)
    config = folder / "agent.toml"
    config.write_text(f'[device]\nid = "footprint"\n[broker]\nurl = "{broker}"\n[board]\nname = "this"\n')
    command = [sys.executable, "-m", "skerry_agent"]
    with subprocess.Popen([*command, "run", "--config", str(config)], stderr=subprocess.DEVNULL) as process:
        try:
            yield process.pid, _settled([*command, "status", "--json", "--config", str(config)])
        finally:
            process.terminate()


def _settled(command: list[str]) -> dict[str, Any]:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        done = subprocess.run(command, capture_output=True, check=False)
        status: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        if status.get("connected") and all(model["serving"] for model in status["models"].values()):
            return status
        time.sleep(0.2)
    raise TimeoutError(f"the agent did not come up within {START_S:.0f} s")


def idle_percent(pid: int, seconds: float) -> float:
    """Share of one core that a process used over some seconds."""
    before, began = _cpu_s(pid), time.monotonic()
    time.sleep(seconds)
    return round(100 * (_cpu_s(pid) - before) / (time.monotonic() - began), 3)


def _cpu_s(pid: int) -> float:
    """From the scheduler's nanoseconds per thread: ticks of 10 ms would be as large as what is measured."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def install(folder: Path) -> None:
    """Lay MobileNetV2 into an agent's state folder, as a committed release."""
    bundle_folder, model_folder = folder / "state/bundles/mobilenet", folder / "state/models/mobilenet"
    for path in (bundle_folder, model_folder):
        path.mkdir(parents=True)
    bundle, _ = lay_bundle(bundle_folder, MOBILENET_V2)
    write_bundle(bundle_folder, bundle)
    slot = Slot("mobilenet", "mobilenet@1.0.0", "cpu", "0" * 64, "0" * 64)
    Journal(model_folder / "journal.json").write(Record(slots=Slots(current=slot)))


def measure(folder: Path, seconds: float) -> dict[str, Any]:
    """Everything, in one run."""
    with choose(folder / "broker", None, 0) as broker:
        result: dict[str, Any] = {"python": peer(BARE), "python_paho": peer(PAHO, broker.url.rsplit(":", 1)[1])}
        with agent(folder / "idle", broker.url) as (pid, _):
            result["idle_cpu_percent"] = idle_percent(pid, seconds)
            result["supervisor"] = memory(pid)
        if not MOBILENET_V2.exists():
            return result | {"skipped": f"no model at {MOBILENET_V2}: set SKERRY_REAL_MODELS"}
        install(folder / "serving")
        with agent(folder / "serving", broker.url) as (pid, status):
            result["supervisor_serving"] = memory(pid)
            result["runner"] = memory(status["pids"]["mobilenet"])
        result["interpreter"] = peer(INTERPRETER, str(MOBILENET_V2))
        total = result["supervisor_serving"]["pss_mb"] + result["runner"]["pss_mb"]
        return result | {"supervisor_and_runner_pss_mb": round(total, 1)}


def main() -> None:
    """Measure; ends by the goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the idle supervisor is watched")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments.seconds)
    paho = f"Python with paho {result['python_paho']['rss_mb']:g}"
    goals = [
        Goal("resident memory of the supervisor", result["supervisor"]["rss_mb"], 28, "MB", peer=paho),
        Goal("processor time of an idle supervisor", result["idle_cpu_percent"], 0.3, "% of a core"),
    ]
    if "runner" in result:
        python = f"Python with the Interpreter that ran the model {result['interpreter']['rss_mb']:g}"
        goals.append(Goal("resident memory of a runner", result["runner"]["rss_mb"], 36, "MB", peer=python))
    finish("footprint", goals, result)


if __name__ == "__main__":
    main()
