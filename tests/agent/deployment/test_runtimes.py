"""The runtime of a slot reaches its runner, however the slot comes to serve; without it another one stands in."""

import pytest
from msgspec.structs import replace

from skerry_agent.machine import events
from skerry_agent.machine.records import SlotRuntime
from skerry_agent.ports.jobs import PlanJob, Refusal, Staged, StageJob
from skerry_agent.state.install import read_export
from skerry_agent.state.runtimes import MANIFEST_FILE, PLACE, RUNTIMES, RuntimeFolders
from skerry_agent.supervisor.device_orders import install
from skerry_agent.supervisor.report import model_report
from skerry_agent.wire import codec, topics
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.envelope import Envelope, Signature
from skerry_agent.wire.manifest import Artifact, Bundle, Release
from tests.kit.unit import SPEC, Device, order
from tests.kit.updater import PROVENANCE, QUALITY

MODEL_FILE = Artifact("m.tflite", "model", describe(b"m"))
MANIFEST = b"signed manifest of a runtime"
RUNTIME = SlotRuntime("litert@2.4.0", f"{describe(MANIFEST).sha256[:16]}-{PLACE.tag}", describe(MANIFEST))


class RuntimeDevice(Device):
    """A device whose broker has a runtime's manifest, and whose updater installs it."""

    def boot(self):
        super().boot()
        self.jobs = []
        self.link.retained |= {topics.chunk(describe(MANIFEST).sha256, 0): MANIFEST}
        self.root = self.unit.context.runtimes.root

    def answer(self, job):
        if isinstance(job, PlanJob | StageJob):
            self.jobs.append(job)
        answer = super().answer(job)
        if isinstance(job, StageJob) and isinstance(answer, Staged) and job.runtime is not None:
            folder = self.root / RUNTIME.folder
            folder.mkdir(parents=True, exist_ok=True)
            (folder / MANIFEST_FILE).write_bytes(MANIFEST)
            return replace(answer, runtime=RUNTIME)
        return answer

    def upgrade(self, version="1.0.0", number=2):
        """Order a release with the runtime, and take it to commit; the runner that serves then."""
        self.unit.order(replace(order(version, number), runtime=describe(MANIFEST)))
        self.pump()
        return self.commit()

    def commit(self):
        candidate = self.processes.runners[-1]
        candidate.validate()
        candidate.follow()
        candidate.heartbeat(inferences=20)
        candidate.follow()
        assert self.unit.record.deployment.outcome == "succeeded"
        return candidate


@pytest.fixture
def device(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the state folder of its configuration
    return RuntimeDevice(tmp_path)


def test_the_same_release_with_a_runtime_starts_a_runner_with_its_folder(device):
    before = device.install("1.0.0", 1)
    after = device.upgrade()
    assert before.job.runtime_dir == ""
    assert after.job.runtime_dir == str(device.root / RUNTIME.folder)
    assert device.unit.record.slots.current.runtime == RUNTIME
    assert device.unit.record.slots.previous.runtime is None
    report = model_report(device.unit)
    assert (report.current.runtime, report.previous.runtime) == ("litert@2.4.0", "")


def test_a_rollback_runs_with_the_runtime_of_before(device):
    device.install("1.0.0", 1)
    device.upgrade()
    device.unit.handle(events.RollbackOrdered())
    assert device.processes.runners[-1].job.runtime_dir == ""


def test_a_rollback_of_a_model_brings_its_runtime_back(device):
    device.upgrade("1.0.0", 1)
    device.install("1.1.0", 2)
    assert device.processes.runners[-1].job.runtime_dir == ""
    device.unit.handle(events.RollbackOrdered())
    assert device.processes.runners[-1].job.runtime_dir == str(device.root / RUNTIME.folder)


def test_a_runtime_that_crashes_when_it_is_probed_leaves_the_old_one_serving(device):
    runner = device.install("1.0.0", 1)
    device.stage = Refusal("failed", "runtime_crashed", "SIGILL at import of litert@2.4.0 on a Pentium")
    device.unit.order(replace(order("1.0.0", 2), runtime=describe(MANIFEST)))
    device.pump()
    assert (device.deployment.outcome, device.deployment.reason) == ("failed", "runtime_crashed")
    assert "on a Pentium" in device.deployment.detail
    assert device.unit.current.accepting
    assert runner.sent == []


def test_what_is_installed_already_is_neither_fetched_nor_probed(device):
    device.upgrade("1.0.0", 1)
    del device.link.retained[topics.chunk(describe(MANIFEST).sha256, 0)]
    device.upgrade("1.1.0", 2)
    planned, staged = device.jobs[-2:]
    assert planned.runtime.manifest_file == str(device.root / RUNTIME.folder / MANIFEST_FILE)
    assert staged.runtime.proven == (RUNTIME.folder,)


def test_without_its_runtime_a_committed_model_is_served_by_the_base_environment_and_says_so(device):
    device.upgrade("1.0.0", 1)
    (device.root / RUNTIME.folder).rename(device.root / "gone")
    device.boot()
    runner = device.processes.runners[-1]
    assert runner.job.runtime_dir == ""
    runner.validate()
    runner.follow()
    assert any(issue.startswith("runtime_gone: m runs with the base") for issue in device.unit.issues)
    assert model_report(device.unit).current.runtime_gone
    device.unit.order(replace(order("1.0.0", 5), runtime=describe(MANIFEST)))
    device.pump()
    assert device.commit().job.runtime_dir == str(device.root / RUNTIME.folder), "ordered again, it is mended"
    assert device.unit.issues == ()


def test_a_runtime_of_another_python_is_not_given_to_a_runner(device):
    device.upgrade("1.0.0", 1)
    record = device.unit.record
    other = replace(RUNTIME, folder=RUNTIME.folder.replace(PLACE.python, "cp39"))
    (device.root / other.folder).mkdir()
    slots = replace(record.slots, current=replace(record.slots.current, runtime=other))
    device.journal.write(replace(record, slots=slots))
    device.boot()
    assert device.processes.runners[-1].job.runtime_dir == ""


def test_only_runtimes_that_no_slot_names_are_collected(tmp_path):
    for name in (RUNTIME.folder, "old-cp311-x86_64", ".half.tmp"):
        (tmp_path / RUNTIMES / name).mkdir(parents=True)
    RuntimeFolders(tmp_path / RUNTIMES).collect([RUNTIME.folder])
    assert [path.name for path in (tmp_path / RUNTIMES).iterdir()] == [RUNTIME.folder]


class NoAnswer(RuntimeFolders):
    """On a disk that gives no answer."""

    def folder(self, runtime):
        raise OSError(5, "Input/output error")


def test_a_disk_that_gives_no_answer_makes_no_runtime_gone_and_ends_no_agent(tmp_path):
    folders = NoAnswer(tmp_path)
    assert folders.usable(RUNTIME)
    assert RuntimeFolders(tmp_path / "nothing").manifest("0" * 64) is None


def test_a_stick_brings_its_runtime_and_without_one_the_device_keeps_its_own(device, tmp_path):
    stick = tmp_path / "stick"
    stick.mkdir()
    release = Release(1, "m", "1.0.0", 1, (Bundle("cpu", (MODEL_FILE,), (SPEC,), (SPEC,)),), QUALITY, PROVENANCE)
    envelope = Envelope("t", codec.encode(release), (Signature("k", b"s"),))
    (stick / "release.json").write_bytes(codec.encode(envelope))
    blobs = device.unit.context.blobs
    assert install(device.unit, read_export(stick), blobs, 1.0).ok
    assert device.deployment.runtime is None, "the base environment's"
    (stick / "runtime.json").write_bytes(MANIFEST)
    device.unit.handle(events.Withdrawn())
    assert install(device.unit, read_export(stick), blobs, 1.0).ok
    assert device.deployment.runtime == describe(MANIFEST)
    assert blobs.path(describe(MANIFEST).sha256).read_bytes() == MANIFEST


def test_a_stick_without_a_runtime_changes_none(device, tmp_path):
    device.upgrade("1.0.0", 1)
    stick = tmp_path / "stick"
    stick.mkdir()
    release = Release(1, "m", "1.1.0", 2, (Bundle("cpu", (MODEL_FILE,), (SPEC,), (SPEC,)),), QUALITY, PROVENANCE)
    envelope = Envelope("t", codec.encode(release), (Signature("k", b"s"),))
    (stick / "release.json").write_bytes(codec.encode(envelope))
    assert install(device.unit, read_export(stick), device.unit.context.blobs, 1.0).ok
    assert device.deployment.runtime == describe(MANIFEST)
