"""TFLite models with one operator, small enough to build in a test, and jobs for a runner of them."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from skerry_agent.ports import runner_protocol
from skerry_agent.processing import GoldenSet, save_golden
from skerry_agent.runner.arrays import from_array, to_array
from skerry_agent.runner.engines import ModelFile, open_engine
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.manifest import Artifact, Bundle


def make_job(folder, golden=None, engine="litert", task="classification", bundle=None, **job):
    """A job for the model in `folder`; golden outputs are recorded in process."""
    model = next(folder.glob("model.*"))
    opened = open_engine(engine, ModelFile(str(model)))
    artifacts = [artifact("model", model)]
    if golden is not None:
        rows = [
            infer(opened, [a[i].reshape(t.shape) for a, t in zip(golden, opened.inputs, strict=True)])
            for i in range(len(golden[0]))
        ]
        outputs = tuple(np.concatenate(column) for column in zip(*rows, strict=True))
        (folder / "golden.npz").write_bytes(save_golden(GoldenSet(tuple(golden), outputs)))
        artifacts.append(artifact("golden", folder / "golden.npz"))
    made = Bundle("cpu", tuple(artifacts), opened.inputs, opened.outputs, task=task, **(bundle or {}))
    return runner_protocol.Job("tiny", "tiny@1.0.0", str(folder), made, engine=engine, **{"beat_s": 0.1} | job)


def infer(engine, arrays):
    """What an engine makes of numpy arrays, as such."""
    return list(map(to_array, engine.infer(list(map(from_array, arrays)))))


def artifact(role, file):
    return Artifact(file.name, role, describe(file.read_bytes()))


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
