"""Runners as real child processes, talked to over their control socket, and models small enough to build here."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.ports import runner_protocol
from skerry_agent.processing import GoldenSet, save_golden
from skerry_agent.runner.engines import ModelFile, open_engine
from skerry_agent.wire import codec
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.manifest import Artifact, Bundle, TensorSpec

ROOT = Path(__file__).parents[3]
TIMEOUT_S = 60


class Child:
    """A runner in a process of its own; what it says is read here as the supervisor would."""

    def __init__(self, job=None, listener=None, command=("-m", "skerry_agent.runner"), python=sys.executable):
        self.control, theirs = socket.socketpair()
        fds = [theirs.fileno()] + ([listener.fileno()] if listener else [])
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
        self.beats = []
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
        """The next message that is no beat (beats are kept), or the next beat if that is asked for."""
        while True:
            message = self.hear()
            if isinstance(message, kind):
                return message
            assert isinstance(message, runner_protocol.Beat), (message, self.last_words() if message is None else "")
            self.beats.append(message)

    def ready(self, exercise_hz=0.0):
        self.expect(runner_protocol.Loaded)
        proved = self.expect(runner_protocol.Proved)
        self.say(runner_protocol.Accept(exercise_hz))
        self.expect(runner_protocol.Accepting)
        return proved

    def wait_for(self, condition):
        """Take beats until `condition(sum of them)` holds."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            self.beats.append(self.expect(runner_protocol.Beat))
            total = SimpleNamespace(
                **{
                    name: sum(getattr(beat, name) for beat in self.beats)
                    for name in ("inferences", "errors", "invalid_outputs", "dropped")
                }
            )
            if condition(total):
                return total
        raise AssertionError(self.beats[-1])

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


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The path of a stand-in for libedgetpu, built here: its C entry points, no Edge TPU behind them."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    path = tmp_path_factory.mktemp("stand_in") / "libedgetpu_stand_in.so"
    source = Path(__file__).with_name("stand_in_edgetpu.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(path), str(source)], check=True)
    return str(path)


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


def make_job(folder, golden=None, engine="litert", task="classification", bundle=None, **job):
    """A job for the model in `folder`; golden outputs are recorded in process."""
    model = next(folder.glob("model.*"))
    opened = open_engine(engine, ModelFile(str(model)))
    artifacts = [artifact("model", model)]
    if golden is not None:
        rows = [
            opened.infer([a[i].reshape(t.shape) for a, t in zip(golden, opened.inputs, strict=True)])
            for i in range(len(golden[0]))
        ]
        outputs = tuple(np.concatenate(column) for column in zip(*rows, strict=True))
        (folder / "golden.npz").write_bytes(save_golden(GoldenSet(tuple(golden), outputs)))
        artifacts.append(artifact("golden", folder / "golden.npz"))
    made = Bundle("cpu", tuple(artifacts), opened.inputs, opened.outputs, task=task, **(bundle or {}))
    return runner_protocol.Job("tiny", "tiny@1.0.0", str(folder), made, engine=engine, **{"beat_s": 0.1} | job)


def artifact(role, file):
    return Artifact(file.name, role, describe(file.read_bytes()))


def _random(rng, samples, tensor: TensorSpec):
    shape = (samples, *tensor.shape[1:])
    if tensor.dtype.startswith("float"):
        return rng.random(shape, dtype=np.float32)
    limits = np.iinfo(tensor.dtype)
    return rng.integers(limits.min, limits.max, shape, tensor.dtype, endpoint=True)


def tiny_inputs(kind):
    dtype = np.int8 if kind == "copy" else np.float32
    return (np.arange(1, 13).reshape(3, 4).astype(dtype),)


def tiny_model(kind):
    """A TFLite file with one operator on a (1, 4) tensor."""
    operators = schema.BuiltinOperator
    code, constant, options = {
        "add": (operators.ADD, np.array([[1, 2, 3, 4]], np.float32), schema.AddOptionsT()),
        "zero": (operators.MUL, np.zeros((1, 4), np.float32), schema.MulOptionsT()),
        "log": (operators.LOG, None, None),
        "copy": (operators.RESHAPE, np.array([1, 4], np.int32), schema.ReshapeOptionsT()),
    }[kind]
    kind_of = schema.TensorType.INT8 if kind == "copy" else schema.TensorType.FLOAT32
    model = schema.ModelT()
    model.version, model.description = 3, kind
    model.buffers = [schema.BufferT()]
    tensors = [_tensor(name, (1, 4), kind_of) for name in ("x", "y")]
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0], [1]
    if constant is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(constant.tobytes(), np.uint8)
        model.buffers.append(buffer)
        types = {"int32": schema.TensorType.INT32, "float32": schema.TensorType.FLOAT32}
        tensors.append(_tensor("c", constant.shape, types[constant.dtype.name], buffer=1))
        operator.inputs = [0, 2]
    if options is not None:
        name = type(options).__name__.removesuffix("T")
        operator.builtinOptionsType, operator.builtinOptions = getattr(schema.BuiltinOptions, name), options
        if kind == "copy":
            options.newShape = [1, 4]
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = tensors, [0], [1], [operator]
    opcode = schema.OperatorCodeT()
    opcode.builtinCode, opcode.deprecatedBuiltinCode, opcode.version = code, min(code, 127), 1
    model.operatorCodes, model.subgraphs = [opcode], [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(name, shape, kind, buffer=0):
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, buffer
    if kind == schema.TensorType.INT8:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [0.5], [3]
    return tensor
