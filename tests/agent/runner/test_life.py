"""A runner's conversation with its supervisor, every way in which it refuses, and every way in which it ends."""

import signal
import socket
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from skerry_agent.ports import runner_protocol
from skerry_agent.processing import GoldenSet, load_golden, save_golden
from skerry_agent.runner.inference import InferenceCounts
from skerry_agent.runner.session import HeartbeatMaker
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.manifest import Probation
from tests.kit.clock import FakeClock
from tests.kit.faulty_runner import FAULTY


def test_it_loads_proves_accepts_sends_heartbeats_and_drains(spawn, tiny):
    child = spawn(tiny("add"))
    loaded = child.expect(runner_protocol.Loaded)
    assert loaded.load_us > 0
    assert loaded.rss_bytes > 1_000_000
    assert child.expect(runner_protocol.Ready) == runner_protocol.Ready(samples=3, max_lsb=0, top1=1.0)
    child.say(runner_protocol.Accept())
    child.expect(runner_protocol.Accepting)
    heartbeat = child.expect(runner_protocol.Heartbeat)
    assert heartbeat.busy_s == 0
    assert heartbeat.inferences == 0  # golden inputs are not load
    child.say(runner_protocol.Drain(grace_s=0))
    child.expect(runner_protocol.Drained)
    child.say(runner_protocol.Stop())
    assert child.process.wait(10) == 0


def exercised(child, until):
    """Take heartbeats until golden inputs were run `until` times; (inferences, errors, wrong, latencies)."""
    total = (0, 0, 0, 0)
    while total[0] < until:
        done = child.expect(runner_protocol.Heartbeat).exercised or runner_protocol.Exercised()
        total = tuple(map(sum, zip(total, (done.inferences, done.errors, done.wrong, done.latency.count), strict=True)))
    return total


def test_golden_inputs_as_load_are_counted_apart_and_end_when_that_is_said(spawn, tiny):
    """With nobody asking, a device went on inferring after a commit, and its figures were of made-up load."""
    child = spawn(tiny("add"))
    child.ready()
    child.say(runner_protocol.Exercise(100.0))
    inferences, errors, wrong, latencies = exercised(child, 20)
    assert (errors, wrong, latencies) == (0, 0, inferences)
    assert all((b.inferences, b.latency.count, b.outputs) == (0, 0, {}) for b in child.heartbeats)
    child.say(runner_protocol.Exercise(0.0))
    child.say(runner_protocol.Accept())  # its answer says that what was said before is done
    child.expect(runner_protocol.Accepting)
    child.expect(runner_protocol.Heartbeat)
    beats = [child.expect(runner_protocol.Heartbeat) for _ in range(3)]
    assert [beat.exercised for beat in beats] == [None] * 3


def test_draining_ends_the_exercise(spawn, tiny):
    child = spawn(tiny("add"))
    child.ready()
    child.say(runner_protocol.Exercise(100.0))
    exercised(child, 3)
    child.say(runner_protocol.Drain(grace_s=0))
    child.expect(runner_protocol.Drained)
    child.expect(runner_protocol.Heartbeat)
    assert child.expect(runner_protocol.Heartbeat).exercised is None


CHANGES_ITS_MIND = "return [session.Tensor(t.dtype, t.shape, bytes(len(t.data))) for t in self._engine.infer(inputs)]"


def test_a_model_that_answers_golden_inputs_otherwise_in_service_is_seen(spawn, tiny):
    fault = FAULTY.replace("FAULT", CHANGES_ITS_MIND).replace("session.Tensor", "Tensor")
    fault = fault.replace("import ctypes", "from skerry_agent.runner.tensor import Tensor\nimport ctypes")
    child = spawn(tiny("add"), command=("-c", fault))
    child.ready()
    child.say(runner_protocol.Exercise(100.0))
    inferences, errors, wrong, _ = exercised(child, 9)
    assert (errors, wrong) == (0, inferences)


def test_without_golden_inputs_zeros_show_that_it_runs(spawn, tiny):
    child = spawn(tiny("add", golden=False))
    child.ready()
    child.say(runner_protocol.Exercise(100.0))
    assert exercised(child, 3)[1:3] == (0, 0)


def test_an_exercise_that_an_older_supervisor_asked_for_ends_by_itself(spawn, tiny):
    """Such a supervisor counts no golden inputs but as load, and never ends them."""
    child = spawn(tiny("add", bundle={"probation": Probation(max_seconds=0.5)}, beat_s=0.1))
    child.ready(exercise_hz=100)
    child.wait_for(lambda total: total.inferences >= 10)
    deadline = time.monotonic() + 20
    while child.expect(runner_protocol.Heartbeat).inferences:
        assert time.monotonic() < deadline


class Busy:
    """Stands in for an inference that began `since`."""

    def __init__(self, clock, since):
        self._clock, self._since = clock, since

    @property
    def busy_s(self):
        return self._clock.now - self._since

    def take(self):
        return InferenceCounts()


def test_the_time_in_which_a_runner_stood_still_is_no_time_of_an_inference():
    """Its process was stopped, or the machine frozen: after that it was called hung."""
    clock = FakeClock()
    heartbeats = HeartbeatMaker(1.0, clock.monotonic)
    heartbeats.inference = Busy(clock, since=clock.now)
    for expected in (1.0, 2.0, 0.0, 1.0, 2.0):
        clock.now += 1.0 if expected else 60.0
        assert heartbeats.next().busy_s == pytest.approx(expected)


def test_exercise_counts_latency_and_answers_until_drained_and_again_after(spawn, tiny):
    child = spawn(tiny("add"))
    child.ready(exercise_hz=100)
    child.wait_for(lambda total: total.inferences >= 10)
    heartbeat = next(b for b in child.heartbeats if b.inferences)
    assert heartbeat.latency.count == heartbeat.inferences
    assert heartbeat.outputs == {"3": heartbeat.inferences}  # x + (1, 2, 3, 4) of rising x is largest at the end
    child.say(runner_protocol.Drain(grace_s=0))
    child.expect(runner_protocol.Drained)
    child.heartbeats.clear()
    child.expect(runner_protocol.Heartbeat)
    assert child.expect(runner_protocol.Heartbeat).inferences == 0
    child.say(runner_protocol.Accept(exercise_hz=100))
    child.expect(runner_protocol.Accepting)
    child.wait_for(lambda total: total.inferences >= 5)


def _with_golden(job, change):
    """The job with another golden file, signed like that."""
    path = Path(job.bundle_dir) / "golden.npz"
    return _with_file(job, "golden.npz", save_golden(change(load_golden(path.read_bytes()))))


def _with_file(job, name, content):
    """The job with another content of a file, signed like that: what no signature tells is for the runner to find."""
    (Path(job.bundle_dir) / name).write_bytes(content)
    artifacts = tuple(replace(a, blob=describe(content)) if a.name == name else a for a in job.bundle.artifacts)
    return replace(job, bundle=replace(job.bundle, artifacts=artifacts))


def _other_outputs(golden):
    return GoldenSet(golden.inputs, tuple(output + 9 for output in golden.outputs))


def _negative_inputs(golden):
    return GoldenSet(tuple(-array for array in golden.inputs), golden.outputs)


@pytest.mark.parametrize(
    ("kind", "change", "code"),
    [
        ("add", _other_outputs, "golden_mismatch"),
        ("log", _negative_inputs, "invalid_output"),
        ("zero", lambda golden: golden, "constant_output"),
    ],
)
def test_an_unfit_model_is_refused_with_its_reason(spawn, tiny, kind, change, code):
    child = spawn(_with_golden(tiny(kind), change))
    child.expect(runner_protocol.Loaded)
    refused = child.expect(runner_protocol.Refused)
    assert refused.code == code
    assert "\n" not in refused.detail
    assert child.process.wait(10) == 3


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.tflite", b"not what was signed", "model.tflite does not have the hash of its manifest"),
        ("model.tflite", None, "No such file"),
        ("golden.npz", b"not what was signed", "golden.npz does not have the hash of its manifest"),
        ("golden.npz", None, "golden file"),
    ],
)
def test_files_of_a_candidate_that_are_damaged_or_absent_are_refused(spawn, tiny, tmp_path, name, content, words):
    job = tiny("add")
    path = tmp_path / "add" / name
    path.unlink() if content is None else path.write_bytes(content)
    child = spawn(job)
    refused = child.expect((runner_protocol.Refused, runner_protocol.Loaded))
    if isinstance(refused, runner_protocol.Loaded):
        refused = child.expect(runner_protocol.Refused)
    assert refused.code == ("load_failed" if content is None else "damaged")
    assert words in refused.detail


@pytest.mark.parametrize("content", [b"not what was signed", None])
@pytest.mark.parametrize("kind", ["add", "log"])
def test_a_committed_release_serves_although_its_golden_file_rots_and_says_so(spawn, tiny, tmp_path, kind, content):
    """A flipped bit in it left a device without a model; the logarithm of zeros is infinite, which proves nothing."""
    job = tiny(kind, committed=True, beat_s=0.1)
    path = tmp_path / kind / "golden.npz"
    path.unlink() if content is None else path.write_bytes(content)
    child = spawn(job)
    assert child.ready().samples == 0
    child.wait_for_issue("golden_damaged: golden file: ")


def test_a_committed_release_whose_golden_file_is_whole_is_validated(spawn, tiny):
    child = spawn(_with_golden(tiny("add", committed=True), _other_outputs))
    child.expect(runner_protocol.Loaded)
    assert child.expect(runner_protocol.Refused).code == "golden_mismatch"


@pytest.mark.parametrize("content", [b"not what was signed", None])
def test_a_committed_release_whose_model_file_is_damaged_or_absent_is_refused(spawn, tiny, tmp_path, content):
    job = tiny("add", committed=True)
    path = tmp_path / "add" / "model.tflite"
    path.unlink() if content is None else path.write_bytes(content)
    assert spawn(job).expect(runner_protocol.Refused).code == ("load_failed" if content is None else "damaged")


@pytest.mark.parametrize(
    ("name", "words"), [("model.tflite", "model.tflite does not load"), ("golden.npz", "golden file")]
)
def test_signed_nonsense_is_refused(spawn, tiny, name, words):
    child = spawn(_with_file(tiny("add"), name, b"signed, and nonsense"))
    refused = child.expect((runner_protocol.Refused, runner_protocol.Loaded))
    if isinstance(refused, runner_protocol.Loaded):
        refused = child.expect(runner_protocol.Refused)
    assert refused.code == "load_failed"
    assert words in refused.detail


def test_a_model_unlike_its_bundle_is_refused(spawn, tiny, tmp_path):
    tiny("copy")
    job = _with_file(tiny("add"), "model.tflite", (tmp_path / "copy" / "model.tflite").read_bytes())
    refused = spawn(job).expect(runner_protocol.Refused)
    assert refused.code == "load_failed"
    assert "int8[1, 4]" in refused.detail
    assert "float32[1, 4]" in refused.detail


def test_a_job_that_is_none_is_refused_with_every_issue(spawn):
    child = spawn()
    child.control.sendall(b'{"model": 1, "threads": "x"}\n')
    refused = child.expect(runner_protocol.Refused)
    assert "model:" in refused.detail
    assert "bundle: missing" in refused.detail


def test_unknown_commands_of_a_newer_supervisor_are_ignored(spawn, tiny):
    child = spawn(tiny("add"))
    child.control.sendall(b'{"type": "dance"}\nnonsense\n')
    child.ready()


def test_a_runtime_that_dies_takes_only_the_runner(spawn, tiny, real_model):
    child = spawn(_with_file(tiny("add"), "model.tflite", real_model("segfaults_the_runtime.tflite").read_bytes()))
    while child.hear() is not None:
        pass
    # The runtime reads beyond its buffer: what it finds there, and so how it ends, differs with the process.
    assert child.process.wait(10) in {-signal.SIGSEGV, 3}


def test_a_model_that_fails_to_invoke_is_refused(spawn, job_for, tiny, real_model):
    job = _with_file(tiny("add"), "model.tflite", real_model("edgetpu/model_invoking_error.tflite").read_bytes())
    assert spawn(job).expect(runner_protocol.Refused).code == "load_failed"


def test_it_ends_when_its_supervisor_does(spawn, tiny):
    child = spawn(tiny("add"))
    child.ready()
    child.control.shutdown(socket.SHUT_RDWR)
    assert child.process.wait(10) == 0


def test_it_ends_when_its_supervisor_leaves_before_the_job(spawn):
    child = spawn()
    child.control.shutdown(socket.SHUT_RDWR)
    assert child.process.wait(10) == 4


def test_a_segmentation_fault_under_load_ends_only_the_runner(spawn, tiny):
    child = spawn(tiny("add"), command=("-c", FAULTY.replace("FAULT", "ctypes.string_at(0)")))
    child.expect(runner_protocol.Loaded)
    child.expect(runner_protocol.Ready)
    child.say(runner_protocol.Accept(exercise_hz=50))
    while child.hear() is not None:
        pass
    assert child.process.wait(10) == -signal.SIGSEGV


def test_an_accelerator_lost_in_service_is_told_as_a_missing_one_is(spawn, tiny):
    gone = 'raise session.EngineError("the Edge TPU was lost", code="no_accelerator")'
    child = spawn(tiny("add"), command=("-c", FAULTY.replace("FAULT", gone)))
    child.expect(runner_protocol.Loaded)
    child.expect(runner_protocol.Ready)
    child.say(runner_protocol.Accept(exercise_hz=50))
    messages = list(iter(child.hear, None))
    assert messages[-1] == runner_protocol.Refused("no_accelerator", "the Edge TPU was lost")
    assert child.process.wait(10) == 3


@pytest.fixture
def hanging(spawn, tiny):
    """A runner whose model hangs in C code."""
    child = spawn(tiny("add"), command=("-c", FAULTY.replace("FAULT", "ctypes.CDLL(None).pause()")))
    child.ready(exercise_hz=50)
    return child


def test_heartbeats_go_on_and_tell_how_long_an_inference_hangs(hanging):
    heartbeats = [hanging.expect(runner_protocol.Heartbeat) for _ in range(8)]
    assert heartbeats[-1].busy_s > heartbeats[4].busy_s > 0
    assert heartbeats[-1].inferences == 0


@pytest.mark.parametrize("how", ["stop", "close"])
def test_a_hanging_runner_still_leaves(hanging, how):
    while not hanging.expect(runner_protocol.Heartbeat).busy_s:
        pass
    hanging.say(runner_protocol.Stop()) if how == "stop" else hanging.control.shutdown(socket.SHUT_RDWR)
    assert hanging.process.wait(10) == 0


def test_memory_over_its_limit_ends_only_the_runner(spawn, job_for, real_model):
    job = job_for(real_model("edgetpu/mobilenet_v2_1.0_224_quant.tflite"), samples=1, memory_limit_bytes=1_000_000)
    child = spawn(job)
    message = child.hear()
    while isinstance(message, runner_protocol.Heartbeat):
        message = child.hear()
    assert message is None or isinstance(message, runner_protocol.Refused)
    assert child.process.wait(10) != 0


def test_a_memory_limit_that_suffices_does_not_disturb(spawn, job_for, real_model):
    job = job_for(real_model("edgetpu/mobilenet_v2_1.0_224_quant.tflite"), samples=2, memory_limit_bytes=80_000_000)
    spawn(job).ready()


def test_without_golden_inputs_it_warms_and_says_that_nothing_was_compared(spawn, tiny):
    assert spawn(tiny("add", golden=False)).ready().samples == 0


PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-m", "skerry_agent.runner", *sys.argv[1:]], pass_fds=[int(sys.argv[2])])
print(child.pid, file=sys.stderr, flush=True)
time.sleep(600)
"""


def test_it_dies_with_a_supervisor_that_is_killed(spawn, tiny):
    """The kernel ends it even where somebody else (here: this test) still holds the supervisor's end of the socket."""
    supervisor = spawn(tiny("add"), command=("-c", PARENT))
    pid = int(supervisor.process.stderr.readline())
    supervisor.ready()
    supervisor.process.kill()
    deadline = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_constant_inputs_do_not_matter_for_a_single_golden_sample(spawn, tiny):
    one = _with_golden(
        tiny("zero"), lambda g: GoldenSet(*(tuple(a[:1] for a in side) for side in (g.inputs, g.outputs)))
    )
    assert spawn(one).ready().samples == 1
