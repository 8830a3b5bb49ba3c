"""The cpu's bundle lies beside the accelerator's: it serves within seconds, until the accelerator is proven to work."""

import pytest
from msgspec.structs import replace

from skerry_agent.deployment.accelerator import CHANGE_ISSUE_S, EdgeTpu, library
from skerry_agent.deployment.spare import FIRST_PAUSE_S, LAST_PAUSE_S, POLL_S
from skerry_agent.machine import events
from skerry_agent.machine.records import State
from skerry_agent.ports.interfaces import AcceleratorLook
from skerry_agent.ports.jobs import PlanJob, Staged, StageJob
from skerry_agent.ports.runner_protocol import Refused
from skerry_agent.supervisor.report import model_report
from tests.kit.unit import Device, order

ABSENT = AcceleratorLook(14, "device_absent", "no Edge TPU is connected")


def board(root, kernel="6.1.21", driver="1.1", library=b"a libedgetpu"):
    """The files of a board's system that say what its accelerator is like."""
    (root / "proc/sys/kernel/random").mkdir(parents=True, exist_ok=True)
    (root / "proc/sys/kernel/osrelease").write_text(f"{kernel}\n")
    (root / "proc/sys/kernel/random/boot_id").write_text(f"boot of {kernel}\n")
    (root / "sys/module/apex").mkdir(parents=True, exist_ok=True)
    (root / "sys/module/apex/version").write_text(f"{driver}\n")
    (root / "usr/lib").mkdir(parents=True, exist_ok=True)
    (root / "usr/lib/libedgetpu.so.1").write_bytes(library)


class Coral(Device):
    """A device with an Edge TPU, whose releases come with a spare."""

    def __init__(self, folder):
        self.system = folder / "system"
        board(self.system)
        super().__init__(folder, targets=("edgetpu", "cpu"))
        self.stage = Staged("f" * 64, spare_sha256="e" * 64)
        self.boot()

    def boot(self):
        self.accelerator = EdgeTpu(self.folder, self.clock, self.ask, lambda: None, self.system)
        super().boot()

    def restart(self):
        self.unit.shut_down()
        self.boot()

    def ask(self, answer):
        self.processes.look_at_accelerator(answer)

    def wait(self, seconds):
        """Time goes by, and those that serve say each few seconds that they do."""
        for _ in range(int(seconds / 2)):
            for service in (self.unit.current, self.unit.candidate):
                if service is not None and service.ready:
                    service._runner.heartbeat()
            self.clock.advance(2.0)

    @property
    def newest(self):
        return self.processes.runners[-1]

    @property
    def engines(self):
        """What the runners that have not ended use, the oldest first."""
        return [runner.job.engine for runner in self.processes.runners if not runner.killed]

    def order(self, version="1.0.0", number=1):
        self.unit.order(replace(order(version, number), target="edgetpu"))
        self.pump()
        return self.newest

    def refuse(self, runner, code="device_absent", detail="no Edge TPU is connected"):
        runner.listener.received(Refused(code, detail))
        runner.listener.exited("crashed", "exit status 3")
        runner.killed = True

    def serve(self, runner):
        runner.validate()
        runner.follow()
        runner.heartbeat(inferences=20)

    def installed(self):
        """It serves 1.0.0 from its Edge TPU."""
        runner = self.order()
        self.serve(runner)
        assert self.deployment.outcome == "succeeded"
        return runner

    @property
    def current(self):
        return model_report(self.unit).current


@pytest.fixture
def device(tmp_path):
    return Coral(tmp_path)


def test_a_deployment_for_the_accelerator_brings_the_cpus_bundle_with_it(device):
    device.installed()
    (plan,), (stage,) = (
        [job for job in device.processes.jobs if isinstance(job, kind)] for kind in (PlanJob, StageJob)
    )
    assert (plan.spare, stage.spare) == ("cpu", "cpu")
    slot = device.unit.record.slots.current
    assert (slot.target, slot.spare.target) == ("edgetpu", "cpu")
    assert len(set(slot.folders)) == 2
    assert (device.current.target, device.current.beside) == ("edgetpu", "cpu")


def test_an_accelerator_that_is_missing_as_a_release_comes_is_done_without_in_the_same_deployment(device):
    device.refuse(device.order())
    assert device.newest.job.engine == "litert"
    device.serve(device.newest)
    assert (device.deployment.id, device.deployment.outcome) == ("d1", "succeeded")
    assert (device.current.target, device.current.beside) == ("cpu", "edgetpu")
    assert device.unit.issues == ("m runs without the Edge TPU: no Edge TPU is connected (device_absent)",)
    assert len([job for job in device.processes.jobs if isinstance(job, PlanJob)]) == 1


def test_an_accelerator_that_appears_a_minute_late_is_taken_then_without_a_restart(device):
    device.refuse(device.order())
    device.serve(device.newest)
    cpu = device.newest
    device.processes.look = ABSENT
    device.wait(60.0)
    assert device.engines == ["litert"]  # a look is enough to know that it is not there
    device.processes.look = AcceleratorLook(14)
    device.wait(LAST_PAUSE_S + POLL_S)
    tpu = device.newest
    assert tpu.job.engine == "edgetpu"
    assert not tpu.job.committed  # its golden inputs must hold
    assert model_report(device.unit).serving
    tpu.validate()
    tpu.follow()
    cpu.follow()
    assert (device.current.target, device.current.beside) == ("edgetpu", "cpu")
    assert device.unit.issues == ()
    assert device.unit.record.deployment.id == "d1"


def test_the_kernel_showing_a_device_makes_it_try_at_once(device):
    device.refuse(device.order())
    device.serve(device.newest)
    device.processes.look = ABSENT
    device.wait(600.0)
    looks = device.processes.looks
    device.wait(POLL_S)
    assert device.processes.looks == looks  # the pause is a minute by now
    (device.system / "sys/class/apex/apex_0").mkdir(parents=True)
    device.processes.look = AcceleratorLook(14)
    device.wait(POLL_S)
    assert device.newest.job.engine == "edgetpu"


def test_an_accelerator_that_is_lost_in_service_leaves_its_place_within_the_same_second(device):
    """No journal, no broker and no updater: the release and its deployment stay what they are."""
    first = device.installed()
    record, jobs = device.unit.record, len(device.processes.jobs)
    first.listener.exited("device_lost", "the Edge TPU was lost")
    assert device.newest.job.engine == "litert"
    device.newest.validate()
    device.newest.follow()
    assert model_report(device.unit).serving
    assert (device.unit.record, len(device.processes.jobs)) == (record, jobs)
    assert device.current.target == "cpu"


def test_golden_inputs_that_do_not_hold_on_the_accelerator_leave_the_spare_in_service(device):
    device.installed().listener.exited("device_lost", "the Edge TPU was lost")
    spare = device.newest
    spare.validate()
    spare.follow()
    device.wait(FIRST_PAUSE_S + 2 * POLL_S)
    device.refuse(device.newest, "golden_mismatch", "3 of 16 differ")
    assert model_report(device.unit).serving
    assert device.unit.issues == ("m runs without the Edge TPU: 3 of 16 differ (golden_mismatch)",)
    assert device.unit.record.slots.current.release == "m@1.0.0"
    assert device.unit.record.crashes == 0


def test_after_a_restart_with_another_kernel_the_cpus_bundle_serves_at_once_and_says_what_changed(device):
    device.installed()
    board(device.system, kernel="6.6.31", driver="1.2")
    device.processes.look = None  # a library that hangs answers nothing
    device.restart()
    device.processes.look = None
    device.accelerator.begin()
    assert device.engines == ["litert"]
    device.newest.validate()
    device.newest.follow()
    assert model_report(device.unit).serving
    changed = "accelerator_changed: driver 1.1 -> 1.2, kernel 6.1.21 -> 6.6.31"
    assert device.accelerator.issue == f"{changed}; the cpu bundle serves until it is proven again"
    device.wait(120.0)
    assert device.engines == ["litert"]


def test_the_accelerator_that_changed_is_taken_when_its_golden_inputs_hold_and_known_from_then_on(device):
    device.installed()
    board(device.system, library=b"another libedgetpu")
    device.restart()
    device.newest.validate()
    device.newest.follow()
    device.wait(FIRST_PAUSE_S + 2 * POLL_S)
    tpu = device.newest
    assert tpu.job.engine == "edgetpu"
    tpu.validate()
    tpu.follow()
    assert device.current.target == "edgetpu"
    assert device.accelerator.issue.startswith("accelerator_changed: library libedgetpu (")
    assert device.accelerator.issue.endswith("; it works")
    device.wait(CHANGE_ISSUE_S + 2.0)
    assert device.accelerator.issue is None
    device.restart()
    assert device.engines == ["edgetpu"]  # nothing has changed since


def test_a_library_that_was_replaced_by_an_upgrade_is_named_by_its_package(device):
    status = device.system / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.write_text(
        "Package: libedgetpu1-std\nStatus: install ok installed\nVersion: 15.0\n\nPackage: z\nVersion: 1\n"
    )
    device.restart()
    device.installed()
    status.write_text(status.read_text().replace("15.0", "16.0"))
    board(device.system, library=b"libedgetpu 16")
    device.restart()
    assert "library libedgetpu1-std 15.0 (" in device.accelerator.issue
    assert " -> libedgetpu1-std 16.0 (" in device.accelerator.issue


def test_a_newer_release_takes_the_accelerator_from_a_trial_of_the_one_in_service(device):
    device.installed().listener.exited("device_lost", "the Edge TPU was lost")
    spare = device.newest
    spare.validate()
    spare.follow()
    device.wait(FIRST_PAUSE_S + 2 * POLL_S)
    tried = device.newest
    assert tried.job.engine == "edgetpu"
    device.order("1.1.0", 2)
    tried.follow()
    tried.follow()
    device.clock.advance(0.2)
    candidate = device.newest
    assert (candidate.job.release, candidate.job.engine) == ("m@1.1.0", "edgetpu")
    device.serve(candidate)
    assert (device.deployment.outcome, device.current.target) == ("succeeded", "edgetpu")
    assert device.unit.issues == ()


def test_a_candidate_that_loses_the_accelerator_on_probation_is_tried_without_it(device):
    device.installed()
    candidate = device.order("1.1.0", 2)
    device.processes.runners[0].follow()
    device.processes.runners[0].follow()
    device.clock.advance(0.2)
    candidate = device.newest
    candidate.validate()
    candidate.follow()
    assert device.unit.record.state is State.PROBATION
    candidate.listener.exited("device_lost", "the Edge TPU was lost")
    assert device.unit.record.state is State.STAGED
    for runner in device.processes.runners[2:]:
        device.serve(runner)
    assert (device.deployment.id, device.deployment.outcome) == ("d2", "succeeded")
    assert (device.current.release, device.current.target) == ("m@1.1.0", "cpu")


def test_a_release_for_the_cpu_alone_ends_the_search(device):
    device.refuse(device.order())
    device.serve(device.newest)
    device.stage = Staged("f" * 64)
    device.unit.order(order("1.1.0", 2))
    device.pump()
    device.serve(device.newest)
    device.processes.runners[1].follow()
    device.processes.runners[1].follow()
    looks = device.processes.looks
    device.wait(600.0)
    assert device.processes.looks == looks
    assert device.unit.issues == ()


def test_a_deployment_whose_spare_did_not_come_falls_back_as_before(device):
    device.stage = Staged("f" * 64)
    device.refuse(device.order())
    device.pump()
    device.serve(device.newest)
    assert (device.deployment.outcome, device.unit.record.slots.current.target) == ("succeeded", "cpu")


def test_a_rollback_while_it_serves_from_its_spare_serves_the_one_before_from_its_own(device):
    device.installed()
    candidate = device.order("1.1.0", 2)
    device.processes.runners[0].follow()
    device.processes.runners[0].follow()
    device.clock.advance(0.2)
    device.serve(device.newest)
    candidate = device.newest
    candidate.listener.exited("device_lost", "the Edge TPU was lost")
    device.newest.validate()
    device.newest.follow()
    device.unit.handle(events.RollbackOrdered())
    back = device.newest
    assert (back.job.release, back.job.engine) == ("m@1.0.0", "litert")
    back.validate()
    back.follow()
    assert (device.current.release, device.current.target) == ("m@1.0.0", "cpu")


def test_a_folder_that_cannot_be_looked_into_holds_no_library(tmp_path):
    """The supervisor must not end for it: a name that is too long is an error of stat(2) that root gets, too."""
    assert library(tmp_path, ["/" + "x" * 300]) == ""
