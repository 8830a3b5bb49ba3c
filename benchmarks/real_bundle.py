"""Real models as bundles, for the benchmarks: the model file, golden outputs recorded here, and what describes them."""

import os
from pathlib import Path

import numpy as np

from skerry_agent.processing import GoldenSet, save_golden
from skerry_agent.runner.arrays import from_array, to_array
from skerry_agent.runner.engines import ModelFile, open_engine
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.manifest import Artifact, Bundle

MODELS = Path(os.environ.get("SKERRY_REAL_MODELS", Path(__file__).parents[2] / "shared" / "models"))
MOBILENET_V1 = MODELS / "edgetpu" / "mobilenet_v1_0.25_128_quant.tflite"
MOBILENET_V2 = MODELS / "edgetpu" / "mobilenet_v2_1.0_224_quant.tflite"
GOLDEN_SAMPLES = 8
INTERPRETER = """
import sys, numpy
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(sys.argv[1], num_threads=1)
model.allocate_tensors()
detail = model.get_input_details()[0]
model.set_tensor(detail["index"], numpy.zeros(detail["shape"], detail["dtype"]))
model.invoke()
print("ready", flush=True)
sys.stdin.readline()
"""
"""A program: the bare Interpreter that has run a model once, as anybody would write it; it waits for a line then."""


def lay_bundle(folder: Path, model: Path) -> tuple[Bundle, GoldenSet]:
    """Write a model of one uint8 input and its golden file into `folder`."""
    engine = open_engine("litert", ModelFile(str(model)))
    inputs = np.random.default_rng(1).integers(0, 256, (GOLDEN_SAMPLES, *engine.inputs[0].shape[1:]), np.uint8)
    outputs = np.concatenate([to_array(engine.infer([from_array(sample[np.newaxis])])[0]) for sample in inputs])
    golden = GoldenSet((inputs,), (outputs,))
    files = {"model": (model.name, model.read_bytes()), "golden": ("golden.npz", save_golden(golden))}
    for name, data in files.values():
        (folder / name).write_bytes(data)
    artifacts = tuple(Artifact(name, role, describe(data)) for role, (name, data) in files.items())
    return Bundle("cpu", artifacts, engine.inputs, engine.outputs, task="classification"), golden
