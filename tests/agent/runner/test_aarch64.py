"""The agent on an emulated ARM CPU with the wheels that boards get: what it computes, not how fast.

A host of another architecture records golden outputs and makes patches; a device must repeat both to the limit.
"""

import hashlib
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest
from msgspec.structs import replace

from skerry_agent.processing import Feeding, save_golden
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.judge.golden import record
from skerry_host.builder.modelfile.describe import describe_any
from skerry_host.builder.recipe.recipe import GoldenPlan
from tests.kit.patch_models import patch_of
from tests.kit.tiny_models import artifact, make_job

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv" / "aarch64" / "python"
SAMPLES = 4

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="no emulated aarch64: scripts/setup-aarch64")


@pytest.fixture
def built(tmp_path):
    """A job with the golden samples and limits that a build records for a model, and the golden set."""

    def make(path):
        model = path.read_bytes()
        (spec,) = describe_any(model).input_specs()
        kind = np.dtype(spec.dtype).kind
        rng = np.random.default_rng(3)
        shape = (4 * SAMPLES, *spec.shape[1:])
        raw = rng.random(shape, np.float32) if kind == "f" else rng.integers(0, 256, shape, np.uint8)
        made = record(model, Samples.of(raw), Feeding(), GoldenPlan(samples=SAMPLES))
        (tmp_path / f"model{path.suffix}").write_bytes(model)
        (tmp_path / "golden.npz").write_bytes(save_golden(made.golden))
        job = make_job(tmp_path, engine="onnxruntime" if path.suffix == ".onnx" else "litert")
        artifacts = (*job.bundle.artifacts, artifact("golden", tmp_path / "golden.npz"))
        return replace(job, bundle=replace(job.bundle, artifacts=artifacts, golden=made.limits)), made

    return make


@pytest.mark.parametrize(
    "model", ["delta/mnv2_v1.tflite", "delta/mnv2_v1.onnx", "edgetpu/mobilenet_v1_0.25_128_quant.tflite"]
)
def test_a_release_of_this_host_proves_itself_there(spawn, listener, real_model, built, model):
    job, made = built(real_model(model))
    runner = spawn(replace(job, listen_fd=listener.fileno()), listener, python=str(PYTHON))
    ready = runner.ready()
    assert ready.samples == SAMPLES
    sample = made.golden.sample(0, job.bundle.inputs)[0]
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v2/models/tiny"
    tensor = {"name": job.bundle.inputs[0].name, "shape": list(sample.shape), "data": sample.ravel().tolist()}
    tensor["datatype"] = {"f": "FP32", "i": "INT8", "u": "UINT8"}[sample.dtype.kind]
    body = {"inputs": [tensor], "parameters": {"values": "raw"}}
    answer = httpx.post(f"{url}/infer", json=body, timeout=60).raise_for_status().json()
    got = np.array(answer["outputs"][0]["data"])
    assert np.argmax(got) == np.argmax(made.golden.outputs[0][0])


APPLY = """
import hashlib, pathlib, platform, sys
from skerry_agent.patch import apply
made = hashlib.sha256()
old, patch = (pathlib.Path(name).read_bytes() for name in sys.argv[1:])
apply(old, patch, made.update, max_new_bytes=1 << 24)
print(platform.machine(), made.hexdigest())
"""


@pytest.mark.parametrize("new", ["delta/mnv2_ft1e-4.tflite", "delta/mnv2_prune.tflite"])
def test_a_patch_of_this_host_gives_the_same_bytes_there(tmp_path, real_model, new):
    old, wanted = real_model("delta/mnv2_v1.tflite"), real_model(new).read_bytes()
    (tmp_path / "patch").write_bytes(patch_of(old.read_bytes(), wanted).data)
    said = subprocess.run(
        [PYTHON, "-c", APPLY, old, tmp_path / "patch"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "agent")},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    assert said.split() == ["aarch64", hashlib.sha256(wanted).hexdigest()]
