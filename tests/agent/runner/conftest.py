"""Runners as real child processes, talked to over their control socket, and models small enough to build here."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from skerry_agent.ports import runner_protocol
from skerry_agent.runner.engines import ModelFile, open_engine
from skerry_agent.wire import codec
from skerry_agent.wire.manifest import TensorSpec
from tests.kit.libedgetpu import library  # noqa: F401 - a fixture
from tests.kit.tiny_models import make_job, tiny_inputs, tiny_model

ROOT = Path(__file__).parents[3]
TIMEOUT_S = 60


class Child:
    """A runner in a process of its own; what it says is read here as the supervisor would."""

    def __init__(self, job=None, listener=None, command=("-m", "skerry_agent.runner"), python=sys.executable):
        self.control, theirs = socket.socketpair()
        inherited = job.inherited_fds if job is not None else ()
        fds = {theirs.fileno(), *inherited} | ({listener.fileno()} if listener else set())
        self.process = subprocess.Popen(
            [python, *command, "--control-fd", str(theirs.fileno())],
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'agent'}"},
        )
        theirs.close()
        self.control.settimeout(TIMEOUT_S)
        self.lines = self.control.makefile("rb")
        self.heartbeats = []
        if job is not None:
            self.say(job)

    def say(self, message):
        self.control.sendall(codec.encode(message) + b"\n")

    def hear(self):
        """The next message; None when the runner has gone."""
        try:
            line = self.lines.readline()
        except ConnectionResetError:
            return None
        return codec.decode(line, runner_protocol.FromRunner) if line else None

    def expect(self, kind):
        """The next message that is no heartbeat (heartbeats are kept), or the next heartbeat if that is asked for."""
        while True:
            message = self.hear()
            if isinstance(message, kind):
                return message
            assert isinstance(message, runner_protocol.Heartbeat), (
                message,
                self.last_words() if message is None else "",
            )
            self.heartbeats.append(message)

    def ready(self, exercise_hz=0.0):
        self.expect(runner_protocol.Loaded)
        ready = self.expect(runner_protocol.Ready)
        self.say(runner_protocol.Accept(exercise_hz))
        self.expect(runner_protocol.Accepting)
        return ready

    def wait_for(self, condition):
        """Take heartbeats until `condition(sum of them)` holds."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            self.heartbeats.append(self.expect(runner_protocol.Heartbeat))
            total = SimpleNamespace(
                **{
                    name: sum(getattr(heartbeat, name) for heartbeat in self.heartbeats)
                    for name in ("inferences", "errors", "input_errors", "invalid_outputs", "dropped")
                }
            )
            if condition(total):
                return total
        raise AssertionError(self.heartbeats[-1])

    def wait_for_issue(self, words):
        """Take heartbeats until one has an issue of a source with these words; None for none."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            self.heartbeats.append(self.expect(runner_protocol.Heartbeat))
            issues = self.heartbeats[-1].source_issues
            if (words is None and not issues) or any(words and words in issue for issue in issues):
                return
        raise AssertionError(self.heartbeats[-1])

    def last_words(self):
        self.process.wait(TIMEOUT_S)
        return self.process.stderr.read().decode()

    def close(self):
        self.lines.close()
        self.control.close()
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        self.process.stderr.close()


@pytest.fixture
def spawn():
    """Start a `Child`; all of them end with the test."""
    children = []

    def start(*args, **kwargs):
        children.append(Child(*args, **kwargs))
        return children[-1]

    yield start
    for child in children:
        child.close()


@pytest.fixture
def listener():
    """A listening socket as the supervisor makes it."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield server


@pytest.fixture
def real_model():
    """The path of a real model; skips where the folder is absent."""

    def find(name):
        folder = Path(os.environ.get("SKERRY_REAL_MODELS", ROOT.parent / "shared" / "models"))
        if not (folder / name).exists():
            pytest.skip(f"no real models at {folder}: set SKERRY_REAL_MODELS")
        return folder / name

    return find


@pytest.fixture
def tiny(tmp_path):
    """Build a one-operator TFLite model, with its bundle and golden file, and return a job for it.

    Kinds: `add` (x + (1, 2, 3, 4)), `log` (NaN for negative x), `zero` (x * 0), `copy` (int8, x).
    """

    def build(kind="add", golden=True, **job):
        folder = tmp_path / kind
        folder.mkdir(exist_ok=True)
        (folder / "model.tflite").write_bytes(tiny_model(kind))
        return make_job(folder, golden=tiny_inputs(kind) if golden else None, **job)

    return build


@pytest.fixture
def job_for(tmp_path):
    """A job for any model file, with golden outputs recorded from it here."""

    def build(path, engine="litert", samples=4, **job):
        folder = tmp_path / path.stem
        folder.mkdir(exist_ok=True)
        target = folder / f"model{path.suffix}"
        target.unlink(missing_ok=True)
        target.symlink_to(path)
        opened = open_engine(engine, ModelFile(str(target)))
        rng = np.random.default_rng(7)
        inputs = tuple(_random(rng, samples, t) for t in opened.inputs)
        return make_job(folder, engine=engine, golden=inputs, **job)

    return build


def _random(rng, samples, tensor: TensorSpec):
    shape = (samples, *tensor.shape[1:])
    if tensor.dtype.startswith("float"):
        return rng.random(shape, dtype=np.float32)
    limits = np.iinfo(tensor.dtype)
    return rng.integers(limits.min, limits.max, shape, tensor.dtype, endpoint=True)
