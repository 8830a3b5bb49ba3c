"""What the inference API costs a client on the same device over inference in its own process, on MobileNetV1 0.25 128.

Each round makes one inference in this process and one by a real runner over each way, in turns: TCP with JSON (the
slowest that the protocol has), TCP and the Unix socket with binary tensors, and the Unix socket with shared memory. The
extra of a way is what it takes more than an inference here in the least disturbed tenth of the rounds (`median_us` has
the medians), with what the client itself does: it writes a request made beforehand, puts the input where it belongs and
reads the answer whole, which must be the one computed here. Measures no client library and no supervisor.
"""

import argparse
import contextlib
import gc
import json
import mmap
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from goals import Goal, finish, skip
from real_bundle import MOBILENET_V1, lay_bundle

from skerry_agent.ports import runner_protocol
from skerry_agent.runner.engines import ModelFile, open_engine
from skerry_agent.runner.inference import Inference
from skerry_agent.runner.tensor import Tensor
from skerry_agent.wire import codec
from skerry_agent.wire.manifest import Bundle

MODEL = MOBILENET_V1
WARM_ROUNDS = 20
LIMIT_US = 80.0
PATH = "/v2/models/mobilenet/infer"
RAW = {"values": "raw"}
"""The model's own tensors, as they are also in this process."""


@dataclass(frozen=True)
class Way:
    """How a client asks: its connection, its request, where the input goes, and how an answer yields the output."""

    name: str
    peer: socket.socket
    request: bytes
    place: Callable[[], None]
    output: Callable[[bytes, bytes], bytes]

    def ask(self) -> bytes:
        """One inference."""
        self.place()
        self.peer.sendall(self.request)
        got = self.peer.recv(65536)
        while (end := got.find(b"\r\n\r\n")) < 0:
            got += self.peer.recv(65536)
        head = got[: end + 4].lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(got) < end + 4 + length:
            got += self.peer.recv(65536)
        return self.output(head, got[end + 4 :])


def request(body: bytes, header: int | None = None, path: str = PATH) -> bytes:
    """An HTTP request as a client would write it."""
    extra = f"Inference-Header-Content-Length: {header}\r\n" if header is not None else ""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def binary_way(name: str, peer: socket.socket, bundle: Bundle, data: bytes) -> Way:
    """Input and output as bytes after the JSON."""
    entry = _entry(bundle) | {"parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [entry], "parameters": RAW | {"binary_data_output": True}}).encode()

    def output(headers: bytes, body: bytes) -> bytes:
        size = headers.partition(b"inference-header-content-length: ")[2].partition(b"\r\n")[0]
        return body[int(size) :]

    return Way(name, peer, request(head + data, len(head)), lambda: None, output)


def json_way(name: str, peer: socket.socket, bundle: Bundle, data: bytes) -> Way:
    """Input and output as JSON numbers."""
    body = json.dumps({"inputs": [_entry(bundle) | {"data": list(data)}], "parameters": RAW}).encode()
    return Way(name, peer, request(body), lambda: None, lambda _, got: bytes(json.loads(got)["outputs"][0]["data"]))


def shared_way(name: str, peer: socket.socket, bundle: Bundle, data: bytes) -> Way:
    """Input and output in shared memory, which the client has mapped."""
    key = f"skerry-bench-{os.getpid()}"
    size = int(np.prod(bundle.outputs[0].shape))
    with (Path("/dev/shm") / key).open("w+b") as file:
        file.truncate(len(data) + size)
        memory = mmap.mmap(file.fileno(), len(data) + size)
    place = json.dumps({"key": f"/{key}", "byte_size": len(data) + size}).encode()
    peer.sendall(request(place, path="/v2/systemsharedmemory/region/bench/register"))
    assert b" 200 " in peer.recv(65536)
    region = {"shared_memory_region": "bench"}
    inputs = _entry(bundle) | {"parameters": region | {"shared_memory_byte_size": len(data)}}
    there = region | {"shared_memory_byte_size": size, "shared_memory_offset": len(data)}
    outputs = [{"name": bundle.outputs[0].name, "parameters": there}]
    body = json.dumps({"inputs": [inputs], "outputs": outputs, "parameters": RAW})

    def put() -> None:
        memory[: len(data)] = data

    return Way(name, peer, request(body.encode()), put, lambda _head, _body: memory[len(data) :])


def _entry(bundle: Bundle) -> dict[str, Any]:
    return {"name": bundle.inputs[0].name, "shape": bundle.inputs[0].shape, "datatype": "UINT8"}


@contextlib.contextmanager
def runner(folder: Path) -> Iterator[tuple[Bundle, tuple[str, int], str]]:
    """A real runner that serves the model on both sockets: its bundle, and their addresses."""
    bundle, _ = lay_bundle(folder, MODEL)
    control, theirs = socket.socketpair()
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(folder / "model.sock"))
    unix.listen()
    regions = os.memfd_create("regions")
    with control, theirs, unix, socket.create_server(("127.0.0.1", 0)) as tcp, control.makefile("rb") as lines:
        files = {"listen_fd": tcp.fileno(), "unix_fd": unix.fileno(), "regions_fd": regions}
        job = runner_protocol.Job("mobilenet", "mobilenet@1.0.0", str(folder), bundle, **files)
        command = [sys.executable, "-m", "skerry_agent.runner", "--control-fd", str(theirs.fileno())]
        with subprocess.Popen(command, pass_fds=(theirs.fileno(), *job.inherited_fds), stderr=subprocess.DEVNULL):
            control.sendall(codec.encode(job) + b"\n" + codec.encode(runner_protocol.Accept()) + b"\n")
            while not isinstance(_decode(lines.readline()), runner_protocol.Accepting):
                pass
            try:
                yield bundle, tcp.getsockname(), str(folder / "model.sock")
            finally:
                control.sendall(codec.encode(runner_protocol.Stop()) + b"\n")


def _decode(line: bytes) -> runner_protocol.FromRunner:
    return codec.decode(line, runner_protocol.FromRunner)  # type: ignore[arg-type]


def measure(rounds: int) -> dict[str, Any]:
    """Microseconds of an inference here, and the extra of each way."""
    with tempfile.TemporaryDirectory() as folder, runner(Path(folder)) as (bundle, address, path):
        here = Inference(open_engine("litert", ModelFile(str(MODEL))), bundle)
        data = np.random.default_rng(1).integers(0, 256, bundle.inputs[0].shape, np.uint8).tobytes()
        tensor = Tensor("uint8", bundle.inputs[0].shape, data)
        expected = here.infer([tensor])[0].data
        tcp = [socket.create_connection(address) for _ in range(2)]
        unix = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        for peer in tcp:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for peer in unix:
            peer.connect(path)
        ways = [
            json_way("TCP, JSON", tcp[0], bundle, data),
            binary_way("TCP, binary", tcp[1], bundle, data),
            binary_way("Unix socket, binary", unix[0], bundle, data),
            shared_way("Unix socket, shared memory", unix[1], bundle, data),
        ]
        assert all(way.ask() == expected for way in ways)
        gc.collect()
        own, times = _take_turns(lambda: here.infer([tensor]), ways, rounds)
        for peer in (*tcp, *unix):
            peer.close()
        (Path("/dev/shm") / f"skerry-bench-{os.getpid()}").unlink()
    extra = {name: round(_quiet(taken) - _quiet(own), 1) for name, taken in times.items()}
    medians = {name: round(statistics.median(taken), 1) for name, taken in (times | {"in process": own}).items()}
    return {"rounds": rounds, "in_process_us": round(_quiet(own), 1), "extra_us": extra, "median_us": medians}


def _take_turns(here: Callable[[], Any], ways: list[Way], rounds: int) -> tuple[list[float], dict[str, list[float]]]:
    """Microseconds of each inference here, and of each over each way."""
    own, times = [], {way.name: list[float]() for way in ways}
    for at in range(WARM_ROUNDS + rounds):
        bare, taken = _time(here), {way.name: _time(way.ask) for way in ways}
        if at >= WARM_ROUNDS:
            own.append(bare)
            for name, elapsed in taken.items():
                times[name].append(elapsed)
    return own, times


def _quiet(times: list[float]) -> float:
    return statistics.quantiles(times, n=10)[0]


def _time(call: Callable[[], Any]) -> float:
    began = perf_counter()
    call()
    return (perf_counter() - began) * 1e6


def main() -> None:
    """Measure; ends by the goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    arguments = parser.parse_args()
    if not MODEL.exists():
        skip("socket_overhead", f"no model at {MODEL}: set SKERRY_REAL_MODELS")
    found = measure(arguments.rounds)
    extra = found["extra_us"]
    tcp = f"TCP with JSON {extra['TCP, JSON']:g}, with binary {extra['TCP, binary']:g}"
    peer = f"{tcp}; an inference in process takes {found['in_process_us']:g}"
    goals = [
        Goal(f"extra time over the {name}", extra[name], LIMIT_US, "us", peer=peer)
        for name in ("Unix socket, binary", "Unix socket, shared memory")
    ]
    finish("socket_overhead", goals, found)


if __name__ == "__main__":
    main()
