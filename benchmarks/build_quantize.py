"""From float to int8: Skerry's quantizer beside TFLiteConverter, on the same network and samples. Prints JSON.

The network is Keras' MobileNetV2 at 224x224 with random weights, the samples are smooth random pictures: neither time
nor memory depends on what was learnt. Each side runs in a process of its own that is given the samples as a file.
TFLiteConverter starts from the Keras model in memory, Skerry from the float TFLite that the converter makes of it (that
step is timed, too). `peak_beyond_data_mb` is the process's largest resident size less the samples. Goals: at least 2
times faster than TFLiteConverter, and at most 400 MB beyond the data. Measures no accuracy.

Beside the bare quantizer stands a whole build of the same source and samples, report and layers and all, under the same
goal for memory.

TFLiteConverter needs TensorFlow: name a Python that has it in $SKERRY_TF_PYTHON. Without it, Skerry quantizes
--model FILE (a float TFLite), or fashion, and nothing is compared.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from skerry_agent.wire.manifest import Preprocess
from skerry_host.builder.build import BuildRequest, build
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.recipe.errors import BuildRefused
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import load_source

VARIABLE = "SKERRY_TF_PYTHON"
FASHION = Path(__file__).resolve().parents[1] / "models" / "fashion" / "fashion-1.1.0.tflite"
GOAL_TIMES, GOAL_MB = 2.0, 400.0

CONVERTER = """
import json, os, resource, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf
samples, float_file = sys.argv[1:3]
model = tf.keras.applications.MobileNetV2((224, 224, 3), weights=None)
image = tf.keras.Input((224, 224, 3), batch_size=1, name="image")
model = tf.keras.Model(image, model(image))
start = time.perf_counter()
with open(float_file, "wb") as file:
    file.write(tf.lite.TFLiteConverter.from_keras_model(model).convert())
float_s = time.perf_counter() - start
data = np.load(samples)["inputs"]
def batches():
    for picture in data:
        yield [picture[None].astype(np.float32) / np.float32(127.5) - 1]
start = time.perf_counter()
converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = batches
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
made = converter.convert()
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"tool": "TFLiteConverter " + tf.__version__, "seconds": seconds, "float_seconds": float_s,
                  "peak_mb": peak, "data_mb": data.nbytes / 2**20, "bytes": len(made)}))
"""


def pictures(count: int, size: int, channels: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Smooth random pictures (count, size, size, channels) uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    waves = random.uniform(-8, 8, (count, channels, 3))
    made = np.empty((count, size, size, channels), np.uint8)
    for n in range(count):
        for c in range(channels):
            a, b, phase = waves[n, c]
            made[n, :, :, c] = (np.sin(a * x + b * y + phase) * 0.5 + 0.5) * 255
    return made


def skerry(model: Path, samples: Path) -> dict[str, Any]:
    """What Skerry needs, in this process: load, check, calibrate, quantize; TensorFlow must not be there."""
    inputs = np.load(samples)["inputs"]
    data = Samples(inputs, np.zeros(len(inputs), np.int64))
    start = time.perf_counter()
    source = load_source(model)
    loaded = time.perf_counter()
    made = quantize(source, data, Preprocess(1 / 127.5, -1.0), Quantize())
    end = time.perf_counter()
    assert not {"tensorflow", "keras", "torch"} & {name.partition(".")[0] for name in sys.modules}
    return {
        "tool": "skerry",
        "seconds": end - start,
        "of_which_checking_the_source": loaded - start,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "data_mb": inputs.nbytes / 2**20,
        "bytes": len(made),
    }


RECIPE = """schema = 1
name = "bench"
task = "raw"
license = "none"
[source]
file = "m.tflite"
[preprocess]
scale = 0.00784313725490196
offset = -1.0
[data]
calibration = "calibration.npz"
evaluation = "evaluation.npz"
min_calibration_samples = 100
[quantize]
search = false
[budget]
min_sqnr_db = -200.0
max_accuracy_drop = 1.0
"""
"""Random weights: nothing is asked of the answers."""
JUDGED = 60


def whole_build(model: Path, samples: Path) -> dict[str, Any]:
    """A build from recipe to report, in this process; the evaluation samples are the first of others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = np.load(samples)["inputs"]
        others = pictures(JUDGED, inputs.shape[1], inputs.shape[3], seed=1)
        np.savez(folder / "calibration.npz", inputs=inputs)
        np.savez(folder / "evaluation.npz", inputs=others)
        data_mb = (inputs.nbytes + others.nbytes) / 2**20
        del inputs, others
        (folder / "recipe.toml").write_text(RECIPE, "utf-8")
        (folder / "m.tflite").write_bytes(model.read_bytes())
        start = time.perf_counter()
        try:
            build(BuildRequest(folder, "raspberry-pi-4", datetime.now(UTC), out=folder / "out"))
            end = "built"
        except BuildRefused as refused:  # random weights may answer all alike
            end = f"refused: {refused}"[:200]
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"tool": "skerry, whole build", "end": end, "seconds": seconds, "peak_mb": peak, "data_mb": data_mb}


def child(command: list[str]) -> dict[str, Any]:
    """The last line of JSON that a process prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise SystemExit(f"{command[0]} failed: {done.stderr[-1500:]}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found | {"peak_beyond_data_mb": found["peak_mb"] - found["data_mb"]}


def measure(count: int, model: Path | None) -> dict[str, Any]:
    """Both sides, TensorFlow's first because it makes the float model."""
    python = os.environ.get(VARIABLE)
    with tempfile.TemporaryDirectory() as folder:
        samples, made = Path(folder) / "samples.npz", Path(folder) / "float.tflite"
        size, channels = (224, 3) if model or python else (28, 1)
        np.savez(samples, inputs=pictures(count, size, channels))
        peer = child([python, "-c", CONVERTER, str(samples), str(made)]) if python else None
        chosen = made if peer else model or FASHION
        own = child([sys.executable, __file__, "--child", str(samples), "--model", str(chosen)])
        whole = child([sys.executable, __file__, "--child", str(samples), "--model", str(chosen), "--whole"])
    fits = max(own["peak_beyond_data_mb"], whole["peak_beyond_data_mb"]) <= GOAL_MB
    if peer is None:
        return {
            "skerry": own,
            "whole_build": whole,
            "within_memory_goal": fits,
            "compared": f"no: set {VARIABLE} to a Python with TensorFlow",
        }
    faster = peer["seconds"] / own["seconds"]
    goals = {"times_faster": faster, "within_time_goal": faster >= GOAL_TIMES, "within_memory_goal": fits}
    return {"samples": count, "skerry": own, "whole_build": whole, "peer": peer, **goals}


def main() -> int:
    """Measure and print; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--model", type=Path, help="a float TFLite for 224x224x3 pictures, where TensorFlow is absent")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--whole", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps((whole_build if args.whole else skerry)(args.model, args.child)))
        return 0
    found = measure(args.samples, args.model)
    print(json.dumps(found, indent=2))
    return 0 if found.get("within_time_goal", True) and found["within_memory_goal"] else 1


if __name__ == "__main__":
    sys.exit(main())
