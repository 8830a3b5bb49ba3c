"""Does anybody lose a request while runners are swapped? A constant load on kept-alive connections.

Real runner processes share one listening socket, as under the supervisor: each next one is proven while the one before
serves, then accepts, then the one before drains. Goals: 95 % of the rate that is asked, 0 lost, 0 errors. Latency is
shown, not judged.
"""

import argparse
import contextlib
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from goals import Goal, finish, skip
from real_bundle import MOBILENET_V1, lay_bundle

from skerry_agent.ports import runner_protocol
from skerry_agent.wire import codec

CLIENTS = 8
GRACE_S = 2.0


class Load:
    """Clients that ask at a fixed rate, whatever the answers take, and check every answer."""

    def __init__(self, port: int, rate_hz: float, body: bytes, headers: dict[str, str], expected: bytes) -> None:
        self.sent, self.wrong, self.errors = 0, 0, list[str]()
        self.latencies_ms: list[float] = []
        self._port, self._period = port, CLIENTS / rate_hz
        self._body, self._headers, self._expected = body, headers, expected
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on, args=(i / rate_hz,)) for i in range(CLIENTS)]

    def start(self) -> None:
        """Begin to ask."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask no more, and wait for what is open."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self, offset_s: float) -> None:
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        due = time.monotonic() + offset_s
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += self._period
            self.sent += 1
            try:
                self._ask(client)
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                client.close()
        client.close()

    def _ask(self, client: http.client.HTTPConnection) -> None:
        began = time.monotonic()
        client.request("POST", "/v2/models/bench/infer", self._body, self._headers)
        response = client.getresponse()
        answer = response.read()
        self.latencies_ms.append((time.monotonic() - began) * 1000)
        self.wrong += response.status != 200 or not answer.endswith(self._expected)


class Runner:
    """A runner process, as its supervisor sees it."""

    def __init__(self, job: runner_protocol.Job, listen_fd: int) -> None:
        self._control, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "skerry_agent.runner", "--control-fd", str(theirs.fileno())],
            pass_fds=(theirs.fileno(), listen_fd),
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        self._lines = self._control.makefile("rb")
        self.say(job)
        self.hear(runner_protocol.Ready)

    def say(self, message: Any) -> None:
        """Send one message."""
        self._control.sendall(codec.encode(message) + b"\n")

    def hear(self, kind: type) -> None:
        """Wait for a kind of message."""
        while line := self._lines.readline():
            if isinstance(codec.decode(line, runner_protocol.FromRunner), kind):  # type: ignore[arg-type]
                return
        raise RuntimeError(f"the runner left before {kind.__name__}")

    def leave(self) -> None:
        """Stop it."""
        with contextlib.suppress(OSError):
            self.say(runner_protocol.Stop())
        self._process.wait(10)
        self._lines.close()
        self._control.close()


@contextlib.contextmanager
def prepared(listen_fd: int) -> Iterator[tuple[runner_protocol.Job, bytes, dict[str, str], bytes]]:
    """A job, and a request in binary with the bytes that its answer must end in."""
    with tempfile.TemporaryDirectory() as name:
        bundle, golden = lay_bundle(Path(name), MOBILENET_V1)
        inputs, outputs, tensor = golden.inputs[0], golden.outputs[0], bundle.inputs[0]
        entry = {"name": tensor.name, "shape": tensor.shape, "datatype": "UINT8"}
        entry["parameters"] = {"binary_data_size": inputs[0].nbytes}
        head = json.dumps({"inputs": [entry], "parameters": {"values": "raw", "binary_data_output": True}}).encode()
        job = runner_protocol.Job("bench", "bench@1.0.0", name, bundle, listen_fd=listen_fd)
        yield job, head + inputs[0].tobytes(), {"Inference-Header-Content-Length": str(len(head))}, outputs[0].tobytes()


def measure(rate_hz: float, swaps: int, pause_s: float) -> dict[str, Any]:
    """Swap runners under load and count what came back."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener, prepared(listener.fileno()) as ready:
        job, *request = ready
        load = Load(listener.getsockname()[1], rate_hz, *request)
        current = Runner(job, listener.fileno())
        current.say(runner_protocol.Accept())
        load.start()
        began = time.monotonic()
        for _ in range(swaps):
            time.sleep(pause_s)
            following = Runner(job, listener.fileno())
            following.say(runner_protocol.Accept())
            following.hear(runner_protocol.Accepting)
            current.say(runner_protocol.Drain(GRACE_S))
            current.hear(runner_protocol.Drained)
            current.leave()
            current = following
        time.sleep(pause_s)
        seconds = time.monotonic() - began
        load.stop()
        current.leave()
    return summary(load, swaps, seconds)


def summary(load: Load, swaps: int, seconds: float) -> dict[str, Any]:
    """What was counted."""
    latencies = sorted(load.latencies_ms)
    lost, errors = load.sent - len(latencies), load.wrong + len(load.errors)
    return {
        "requests": load.sent,
        "rate_hz": round(load.sent / seconds, 1),
        "swaps": swaps,
        "lost": lost,
        "errors": errors,
        "first_error": load.errors[0] if load.errors else None,
        "latency_ms": {f"p{q}": round(latencies[int((len(latencies) - 1) * q / 100)], 2) for q in (50, 99, 100)},
    }


def main() -> NoReturn:
    """Measure; exit 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--swaps", type=int, default=6)
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between swaps")
    arguments = parser.parse_args()
    if not MOBILENET_V1.exists():
        skip("handover", f"no model at {MOBILENET_V1}: set SKERRY_REAL_MODELS")
    found = measure(arguments.rate, arguments.swaps, arguments.pause)
    goals = [
        Goal("requests lost while runners are swapped", found["lost"], 0, "requests"),
        Goal("requests answered wrongly or with an error", found["errors"], 0, "requests"),
        Goal("requests asked a second", found["rate_hz"], 0.95 * arguments.rate, "1/s", ">="),
    ]
    finish("handover", goals, found)


if __name__ == "__main__":
    main()
