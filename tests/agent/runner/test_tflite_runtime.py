"""tflite-runtime for real: a runner in an environment of its own (scripts/setup-coral), beside litert in this one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from msgspec.structs import replace

from skerry_agent.ports import runner_protocol
from skerry_agent.processing import GoldenSet, load_golden, save_golden
from skerry_agent.runner.engines import About, check, tflite
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.manifest import Golden
from tests.kit.recipes import built, make_recipe, recipe  # noqa: F401 - fixtures
from tests.kit.tiny_models import infer

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv" / "coral" / "bin" / "python"
FASHION = ROOT / "models" / "fashion" / "fashion-1.0.0.tflite"

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="no tflite-runtime: scripts/setup-coral makes .venv/coral")


@pytest.fixture
def either(spawn):
    """The same job in a runner with tflite-runtime, or with litert."""

    def start(job, engine):
        return spawn(replace(job, engine=engine), python=PYTHON if engine == "tflite_runtime" else sys.executable)

    return start


def serve(child):
    """(what it says of itself, its proof, the latencies of its first inferences)."""
    loaded, ready = child.expect(runner_protocol.Loaded), child.expect(runner_protocol.Ready)
    child.say(runner_protocol.Accept(exercise_hz=100))
    child.expect(runner_protocol.Accepting)
    child.wait_for(lambda total: total.inferences >= 5 and not total.errors)
    return loaded, ready, next(heartbeat.latency for heartbeat in child.heartbeats if heartbeat.inferences)


@pytest.mark.parametrize(
    "name",
    ["delta/mnv2_v1.tflite", "edgetpu/mobilenet_v1_0.25_128_quant.tflite"],
    ids=["int8 per channel", "uint8 per tensor"],
)
def test_a_real_model_gives_what_litert_s_own_kernels_give_to_the_last_bit(either, job_for, real_model, name):
    """The runner itself compares, as on a device. XNNPACK, which litert uses by itself, rounds differently."""
    job = with_own_kernels(job_for(real_model(name), samples=8))
    loaded, ready, latency = serve(either(job, "tflite_runtime"))
    assert ready == runner_protocol.Ready(samples=8, max_lsb=0, top1=1.0)
    assert (loaded.engine, loaded.engine_version, loaded.delegate) == ("tflite-runtime", "2.14.0", "")
    assert latency.count


def with_own_kernels(job):
    """The job with golden outputs of litert without XNNPACK, which must be met exactly."""
    path = Path(job.bundle_dir) / "golden.npz"
    golden = load_golden(path.read_bytes())
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path.with_name("model.tflite")), experimental_op_resolver_type=plain)
    engine = tflite.TfliteEngine(interpreter, About("litert", ""))
    interpreter.allocate_tensors()
    rows = [infer(engine, golden.sample(i, engine.inputs)) for i in range(len(golden))]
    outputs = tuple(np.concatenate(column) for column in zip(*rows, strict=True))
    path.write_bytes(save_golden(GoldenSet(golden.inputs, outputs)))
    artifacts = (job.bundle.model, replace(job.bundle.artifact("golden"), blob=describe(path.read_bytes())))
    return replace(job, bundle=replace(job.bundle, artifacts=artifacts, golden=Golden(max_lsb=0)))


@pytest.mark.parametrize("engine", ["litert", "tflite_runtime"])
def test_a_built_bundle_is_proven_and_each_runtime_says_the_same_things_of_itself(either, built, engine):  # noqa: F811
    (bundle,) = (bundle for bundle in built.record.bundles if bundle.target == "cpu")
    job = runner_protocol.Job("fashion", "fashion@1.0.0", str(built.path), bundle, beat_s=0.1)
    loaded, ready, latency = serve(either(job, engine))
    assert ready.samples > 0
    assert loaded.engine.replace("-", "_").endswith(engine)
    assert loaded.engine_version[0].isdigit()
    assert loaded.delegate == ("XNNPACK" if engine == "litert" else "")
    assert latency.count


@pytest.mark.parametrize("engine", ["litert", "tflite_runtime"])
def test_a_float_model_is_handed_to_xnnpack(either, job_for, engine):
    assert either(job_for(FASHION), engine).expect(runner_protocol.Loaded).delegate == "XNNPACK"


def test_the_doctor_s_look_says_its_version():
    assert coral_check("tflite_runtime").stdout.strip() == "tflite-runtime 2.14.0"


def test_with_numpy_2_it_is_one_line_that_says_what_to_do(tmp_path):
    """It imports, and fails with a SystemError as soon as an Interpreter is made."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("the numpy 2 of this environment is for another Python than 3.11")
    for folder in (Path(np.__file__).parent, Path(np.__file__).parents[1] / "numpy.libs"):
        (tmp_path / folder.name).symlink_to(folder)
    said = coral_check("tflite_runtime", tmp_path)
    assert said.returncode == 1
    line = f"tflite-runtime does not work with numpy {np.__version__}; pip install 'numpy<2'"
    assert said.stderr.splitlines()[-1] == line


def test_the_edge_tpu_s_delegate_on_it(library, tiny, tmp_path):
    """A stand-in for libedgetpu, loaded by the real tflite-runtime."""
    tiny("copy")
    code = (
        "import sys; from skerry_agent.runner.engines import ModelFile, edgetpu;"
        "engine = edgetpu.open_edgetpu(ModelFile(sys.argv[1]), sys.argv[2]); print(engine.about)"
    )
    said = run("-c", code, tmp_path / "copy" / "model.tflite", library)
    assert "name='tflite-runtime', version='2.14.0', delegate='libedgetpu runtime 14 on usb:" in said.stdout


def coral_check(engine, *path):
    return run("-m", check.__name__, engine, path=path)


def run(*arguments, path=()):
    """Run the coral environment's Python."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT / "agent"))), "STAND_IN": "ok"}
    command = [str(PYTHON), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
