"""Models that a host would never sign, signed: what a device must survive. Builds them; runs nothing.

Each is a TFLite file of a few operators on a (1, 4) float tensor, or a real file that kills the runtime.
"""

from dataclasses import dataclass, field

import flatbuffers
import msgspec
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.processing import GoldenSet, save_golden
from skerry_agent.wire.envelope import RELEASE
from skerry_agent.wire.manifest import Artifact, Bundle, Probation, Release, TensorSpec
from skerry_host.home import Home
from skerry_host.release import keys
from skerry_host.release.store import Store
from tests.kit.home import PROVENANCE, QUALITY

MODEL = "odd"
SPECS = (TensorSpec("x", "float32", (1, 4)),), (TensorSpec("y", "float32", (1, 4)),)
_OPS, _FLOAT, _BOOL, _INT = (
    schema.BuiltinOperator,
    schema.TensorType.FLOAT32,
    schema.TensorType.BOOL,
    schema.TensorType.INT32,
)
POSITIVE = np.arange(1, 13).reshape(3, 4).astype(np.float32)


@dataclass
class Graph:
    """A subgraph under construction; tensor 0 is the input."""

    tensors: list = field(default_factory=list)
    operators: list = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)


@dataclass
class Builder:
    """A TFLite file under construction."""

    codes: list = field(default_factory=list)
    buffers: list = field(default_factory=lambda: [schema.BufferT()])
    graphs: list[Graph] = field(default_factory=list)

    def graph(self) -> Graph:
        """A new subgraph with one input of shape (1, 4)."""
        made = Graph()
        self.graphs.append(made)
        self.tensor(made, (1, 4))
        return made

    def tensor(self, graph: Graph, shape, kind=_FLOAT, data=None) -> int:
        """Add a tensor, constant if it has data; its index."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = f"t{len(graph.tensors)}", list(shape), kind
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.asarray(data).tobytes(), np.uint8)
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    def add(self, graph: Graph, builtin: int, inputs: list[int], output: int, options=None) -> None:
        """Add an operator."""
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
        self.codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = len(self.codes) - 1, inputs, [output]
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType, operator.builtinOptions = getattr(schema.BuiltinOptions, name), options
        graph.operators.append(operator)

    def file(self) -> bytes:
        """The finished file."""
        model = schema.ModelT()
        model.version, model.description, model.buffers, model.operatorCodes = 3, "odd", self.buffers, self.codes
        model.subgraphs = []
        for graph in self.graphs:
            made = schema.SubGraphT()
            made.tensors, made.operators, made.inputs, made.outputs = graph.tensors, graph.operators, [0], graph.outputs
            model.subgraphs.append(made)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def one_operator(builtin: int, constant=None, options=None) -> bytes:
    """y = op(x[, constant])."""
    builder = Builder()
    graph = builder.graph()
    inputs = [0] if constant is None else [0, builder.tensor(graph, (1, 4), data=np.asarray(constant, np.float32))]
    graph.outputs = [builder.tensor(graph, (1, 4))]
    builder.add(graph, builtin, inputs, graph.outputs[0], options)
    return builder.file()


def good() -> bytes:
    """y = x + (1, 2, 3, 4)."""
    return one_operator(_OPS.ADD, [[1, 2, 3, 4]], schema.AddOptionsT())


def logarithm() -> bytes:
    """NaN for what is negative."""
    return one_operator(_OPS.LOG)


def constant() -> bytes:
    """y = x * 0."""
    return one_operator(_OPS.MUL, np.zeros((1, 4)), schema.MulOptionsT())


def endless() -> bytes:
    """while 0 < 1: x = x + 0."""
    builder = Builder()
    main, condition, body = builder.graph(), builder.graph(), builder.graph()
    options = schema.WhileOptionsT()
    options.condSubgraphIndex, options.bodySubgraphIndex = 1, 2
    main.outputs = [builder.tensor(main, (1, 4))]
    builder.add(main, _OPS.WHILE, [0], main.outputs[0], options)
    zero, one = (builder.tensor(condition, (1,), data=np.asarray([v], np.float32)) for v in (0, 1))
    condition.outputs = [builder.tensor(condition, (1,), _BOOL)]
    builder.add(condition, _OPS.LESS, [zero, one], condition.outputs[0], schema.LessOptionsT())
    nothing = builder.tensor(body, (1, 4), data=np.zeros((1, 4), np.float32))
    body.outputs = [builder.tensor(body, (1, 4))]
    builder.add(body, _OPS.ADD, [0, nothing], body.outputs[0], schema.AddOptionsT())
    return builder.file()


def glutton() -> bytes:
    """Tiles its input to 1.6 GB on the way to four numbers."""
    times = 100_000_000
    builder = Builder()
    graph = builder.graph()
    multiples = builder.tensor(graph, (2,), _INT, np.asarray([times, 1], np.int32))
    wide = builder.tensor(graph, (times, 4))
    builder.add(graph, _OPS.TILE, [0, multiples], wide, schema.TileOptionsT())
    axis = builder.tensor(graph, (1,), _INT, np.asarray([0], np.int32))
    graph.outputs = [builder.tensor(graph, (1, 4))]
    options = schema.ReducerOptionsT()
    options.keepDims = True
    builder.add(graph, _OPS.REDUCE_MAX, [wide, axis], graph.outputs[0], options)
    return builder.file()


def publish(home: Home, version: str, model: bytes, outputs, probation: Probation) -> str:
    """Sign a release `odd@version` whatever it holds, with the golden outputs that it claims; its name."""
    store = Store(home.store)
    golden = save_golden(GoldenSet((POSITIVE,), (np.asarray(outputs, np.float32),)))
    artifacts = (
        Artifact("model.tflite", "model", store.put(model)),
        Artifact("golden.npz", "golden", store.put(golden)),
    )
    bundle = Bundle("cpu", artifacts, *SPECS, probation=probation)
    counter = int(version.replace(".", ""))
    release = Release(1, MODEL, version, counter, (bundle,), QUALITY, PROVENANCE)
    store.add(release, keys.load(home.keys, "release").sign(RELEASE, msgspec.json.encode(release)))
    return release.name
