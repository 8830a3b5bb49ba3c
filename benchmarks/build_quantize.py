"""From float to int8: Skerry's quantizer beside TFLiteConverter, on the same network and samples; and a whole build.

The network is MobileNetV2 at 224x224 with the published weights, the samples are cut from photographs at seeded places.
Each side runs in a process of its own that is given the samples as a file. TFLiteConverter starts from the Keras model
in memory, Skerry from the float TFLite that the converter makes of it (that step is timed, too). Memory is the largest
resident size of a process less the samples. Goals: at least 2 times faster than TFLiteConverter; at most 400 MB beyond
the data, also for a whole build with report, layers and a previous release; and a whole build that stops evaluating
when it is sure at least 2 times faster than one that evaluates all samples, with the same decision.

TFLiteConverter needs TensorFlow: $SKERRY_TF_PYTHON names a Python that has it, else the one of scripts/setup-converters
is taken. Without it nothing is compared.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from goals import Goal, finish, skip
from real_bundle import MOBILENET_V2
from real_float import float_model, kernels, missing, pictures

from skerry_agent.processing import Feeding, parse_npz
from skerry_agent.wire.manifest import Preprocess
from skerry_host.builder.build import BuildRequest, build
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.quantize.pipeline import quantize
from skerry_host.builder.recipe.errors import BuildRefused
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.sources.load import load_source

VARIABLE = "SKERRY_TF_PYTHON"
CONVERTERS = Path(__file__).resolve().parents[1] / ".venv" / "converters" / "bin" / "python"
GOAL_TIMES, GOAL_MB = 2.0, 400.0

CONVERTER = """
import json, os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf
samples, float_file, weights = sys.argv[1:4]
kernels = np.load(weights)
model = tf.keras.applications.MobileNetV2((224, 224, 3), weights=None, classes=1001)
at = 0
for layer in model.layers:
    if isinstance(layer, tf.keras.layers.Dense):
        layer.set_weights([kernels[f"w{at}"].reshape(1001, -1).T, kernels[f"b{at}"]])
    elif "Conv2D" in type(layer).__name__:
        layer.set_weights([kernels[f"w{at}"].transpose(1, 2, 3, 0)])
    elif isinstance(layer, tf.keras.layers.BatchNormalization):
        one = np.ones_like(kernels[f"b{at}"])
        layer.set_weights([one * np.sqrt(1 + layer.epsilon), kernels[f"b{at}"], 0 * one, one])
        at += 1
image = tf.keras.Input((224, 224, 3), batch_size=1, name="image")
model = tf.keras.Model(image, model(image))
start = time.perf_counter()
with open(float_file, "wb") as file:
    file.write(tf.lite.TFLiteConverter.from_keras_model(model).convert())
float_s = time.perf_counter() - start
data = np.load(samples)["inputs"]
def batches():
    for picture in data:
        yield [picture[None].astype(np.float32) / np.float32(128) - 1]
start = time.perf_counter()
converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = batches
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
made = converter.convert()
seconds = time.perf_counter() - start
status = open("/proc/self/status").read()
peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
print(json.dumps({"tool": "TFLiteConverter " + tf.__version__, "seconds": seconds, "float_seconds": float_s,
                  "peak_mb": peak, "data_mb": data.nbytes / 2**20, "bytes": len(made)}))
"""


def most_mb() -> float:
    """The most that this program has held; what getrusage says also covers the parent that forked it."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def skerry(folder: Path) -> dict[str, Any]:
    """What Skerry needs, in this process: load, check, calibrate, quantize; TensorFlow must not be there."""
    with (folder / "calibration.npz").open("rb") as file:
        inputs = parse_npz(file)["inputs"]
    data = Samples.of(inputs)
    start = time.perf_counter()
    source = load_source(folder / "m.tflite")
    loaded = time.perf_counter()
    made = quantize(source, data, Feeding((Preprocess(1 / 128, -1.0),)), Quantize())
    end, peak = time.perf_counter(), most_mb()
    other = quantize(source, data, Feeding((Preprocess(1 / 128, -1.0),)), Quantize(calibrator="min-max"))
    (folder / "previous.tflite").write_bytes(other)  # another release of the same network, for the whole builds
    assert not {"tensorflow", "keras", "torch"} & {name.partition(".")[0] for name in sys.modules}
    return {
        "tool": "skerry",
        "seconds": end - start,
        "of_which_checking_the_source": loaded - start,
        "peak_mb": peak,
        "data_mb": inputs.nbytes / 2**20,
        "bytes": len(made),
    }


RECIPE = """schema = 1
name = "bench"
task = "classification"
license = "none"
[source]
file = "m.tflite"
[preprocess]
scale = 0.0078125
offset = -1.0
[data]
calibration = "calibration.npz"
evaluation = "evaluation.npz"
min_calibration_samples = 100
evaluate = "{evaluate}"
[quantize]
search = false
[budget]
min_accuracy = 0.5
max_accuracy_drop = 0.03
"""


def whole_build(folder: Path, evaluate: str) -> dict[str, Any]:
    """A build from recipe to report, in this process."""
    recipe = folder / f"{evaluate}.toml"
    recipe.write_text(RECIPE.format(evaluate=evaluate), "utf-8")
    before, start = os.times(), time.perf_counter()
    try:
        previous = (folder / "previous.tflite").read_bytes()
        request = BuildRequest(recipe, "raspberry-pi-4", datetime.now(UTC), out=folder / evaluate, previous=previous)
        record = build(request).record
        end, used = "built", record.quality.samples
    except BuildRefused as refused:
        end, used = f"refused: {refused}"[:200], 0
    after = os.times()
    return {
        "tool": f"whole build, evaluating {evaluate}",
        "end": end,
        "samples": used,
        "seconds": time.perf_counter() - start,
        "cpu_s": sum(after[:4]) - sum(before[:4]),
        "peak_mb": most_mb(),
        "data_mb": sum((folder / f"{name}.npz").stat().st_size for name in ("calibration", "evaluation")) / 2**20,
    }


def child(command: list[str]) -> dict[str, Any]:
    """The last line of JSON that a process prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3600)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise SystemExit(f"{command[0]} failed: {done.stderr[-1500:]}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found | {"peak_beyond_data_mb": round(found["peak_mb"] - found["data_mb"], 1)}


def measure(counts: tuple[int, int], python: str | None) -> dict[str, dict[str, Any]]:
    """Every side, TensorFlow's first because it makes the float model."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed, (part, count) in enumerate(zip(("calibration", "evaluation"), counts, strict=True), 1):
            inputs, labels = pictures(count, seed)
            np.savez(folder / f"{part}.npz", inputs=inputs, labels=labels)
        samples, model = str(folder / "calibration.npz"), float_model(MOBILENET_V2.read_bytes())
        (folder / "m.tflite").write_bytes(model)
        np.savez(folder / "weights.npz", **kernels(model))
        found = {}
        if python:
            files = [samples, str(folder / "m.tflite"), str(folder / "weights.npz")]
            found["peer"] = child([python, "-c", CONVERTER, *files])
        own = [sys.executable, __file__, "--child", name]
        return found | {part: child([*own, "--part", part]) for part in ("quantizer", "enough", "all")}


def goals_of(found: dict[str, dict[str, Any]]) -> list[Goal]:
    """What was measured beside what it must reach."""
    own, enough, every = (found[part] for part in ("quantizer", "enough", "all"))
    costs = [f"{side['cpu_s']:.1f} s of CPU for {side['samples']} samples" for side in (every, enough)]
    goals = [
        Goal("quantizer's memory beyond the data", own["peak_beyond_data_mb"], GOAL_MB, "MB"),
        Goal("whole build's memory beyond the data", every["peak_beyond_data_mb"], GOAL_MB, "MB"),
        Goal(
            "whole build, times faster than with all samples",
            every["cpu_s"] / enough["cpu_s"],
            2.0,
            "",
            ">=",
            " and ".join(costs),
        ),
        Goal("builds that end otherwise than with all samples", int(enough["end"] != every["end"]), 0, "builds"),
    ]
    if "peer" in found:
        faster = found["peer"]["seconds"] / own["seconds"]
        peer = f"{found['peer']['tool']}: {found['peer']['seconds']:.1f} s"
        goals.append(Goal("quantizer, times faster than TFLiteConverter", faster, GOAL_TIMES, "", ">=", peer))
    return goals


def main() -> NoReturn:
    """Measure; exit 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=200, help="to calibrate with")
    parser.add_argument("--evaluation", type=int, default=2500, help="samples to evaluate on")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        folder = args.child
        made = skerry(folder) if args.part == "quantizer" else whole_build(folder, args.part)
        print(json.dumps(made))
        sys.exit(0)
    if absent := missing():
        skip("build_quantize", absent)
    python = os.environ.get(VARIABLE) or (str(CONVERTERS) if CONVERTERS.is_file() else None)
    found = measure((args.samples, args.evaluation), python)
    note = {} if python else {"not_compared": f"no TensorFlow: set {VARIABLE} or run scripts/setup-converters"}
    finish("build_quantize", goals_of(found), found | note)


if __name__ == "__main__":
    main()
