"""A runner that cannot be killed is never waited for: the cpu bundle serves from another process, and it is said so."""

import os
import queue
import subprocess
import threading
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from skerry_agent.config import AgentSection
from skerry_agent.deployment.children import RealProcesses, _converse
from skerry_agent.deployment.service import DRAIN_GRACE_S, KILL_GRACE_S, Service, ServiceCallbacks
from skerry_agent.machine import events
from skerry_agent.machine.records import State
from skerry_agent.ports.runner_protocol import Accepting, Loaded, Ready
from skerry_agent.supervisor.report import model_report
from tests.kit.clock import FakeClock
from tests.kit.tiny_models import make_job, tiny_model
from tests.kit.unit import Device, order
from tests.kit.unkillable import unkillable

STUCK_AFTER_S = DRAIN_GRACE_S + 2.0 + KILL_GRACE_S + 1.0


@pytest.fixture
def device(tmp_path):
    return Device(tmp_path)


def on_tpu(device, version, number):
    device.unit.order(replace(order(version, number), target="edgetpu"))
    device.pump()
    return device.processes.runners[-1]


def serving_on_tpu(device, version="1.0.0", number=1):
    runner = on_tpu(device, version, number)
    runner.validate()
    runner.follow()
    runner.heartbeat(inferences=20)
    assert device.deployment.outcome == "succeeded"
    return runner


def take_over(device):
    """The newest runner does all that it is asked for."""
    device.pump()
    runner = device.processes.runners[-1]
    runner.validate()
    runner.follow()
    runner.heartbeat(inferences=20)
    return runner


def hanging_candidate(device):
    """A candidate on probation that has taken over the accelerator, and hangs; it has not ended yet."""
    serving_on_tpu(device)
    on_tpu(device, "1.1.0", 2)
    device.processes.runners[0].follow()
    device.processes.runners[0].follow()
    device.clock.advance(0.2)
    candidate = device.processes.runners[-1]
    candidate.validate()
    candidate.follow()
    candidate.heartbeat(busy_s=11.0)
    return candidate


def hung_issues(device):
    return [issue for issue in device.unit.issues if issue.startswith("accelerator_hung: ")]


def test_a_runner_that_hangs_in_service_and_cannot_be_killed_leaves_its_place_to_the_cpu_bundle(device):
    stuck = serving_on_tpu(device)
    stuck.heartbeat(busy_s=11.0)
    assert stuck.killed
    device.clock.advance(KILL_GRACE_S)
    fallback = take_over(device)
    assert fallback is not stuck
    assert fallback.job.engine == "litert"
    assert device.unit.record.slots.current.target == "cpu"
    assert model_report(device.unit).serving
    assert any("4242" in issue for issue in hung_issues(device))


def test_a_candidate_that_cannot_be_killed_is_tried_without_the_accelerator(device):
    hanging_candidate(device)
    device.clock.advance(KILL_GRACE_S)
    assert take_over(device).job.engine == "litert"
    assert (device.deployment.id, device.deployment.outcome) == ("d2", "succeeded")
    assert (device.deployment.release, device.unit.record.slots.current.target) == ("m@1.1.0", "cpu")


def test_a_new_release_does_not_wait_for_the_runner_before_it_for_ever(device):
    """Before, it polled ten times a second until the process was gone."""
    serving_on_tpu(device)
    on_tpu(device, "1.1.0", 2)
    device.clock.advance(STUCK_AFTER_S)
    assert take_over(device).job.engine == "litert"
    assert (device.deployment.outcome, device.deployment.target) == ("succeeded", "cpu")


def test_a_hang_that_ends_when_it_is_killed_is_a_hang(device):
    candidate = hanging_candidate(device)
    assert device.deployment.outcome is None  # the accelerator is not free yet
    candidate.listener.exited("crashed", "killed by SIGKILL")
    assert (device.deployment.outcome, device.deployment.reason) == ("rolled_back", "hang")
    assert hung_issues(device) == []


def test_nothing_is_started_beside_a_stuck_runner_however_often_it_is_ordered(device):
    stuck = serving_on_tpu(device)
    stuck.heartbeat(busy_s=11.0)
    device.clock.advance(KILL_GRACE_S)
    take_over(device)
    for number, version in ((2, "1.1.0"), (3, "1.2.0"), (4, "1.1.0")):
        on_tpu(device, version, number)
        take_over(device)
        assert (device.deployment.outcome, device.deployment.target) == ("succeeded", "cpu")
    assert [runner.job.engine for runner in device.processes.runners].count("edgetpu") == 1
    assert len(device.unit._launcher.stuck) == 1


def test_when_the_stuck_process_goes_the_accelerator_is_used_again(device):
    stuck = serving_on_tpu(device)
    stuck.heartbeat(busy_s=11.0)
    device.clock.advance(KILL_GRACE_S)
    take_over(device)
    stuck.listener.exited("crashed", "killed by SIGKILL")
    assert device.unit._launcher.stuck == []
    assert serving_on_tpu(device, "1.1.0", 2).job.engine == "edgetpu"
    assert hung_issues(device) == []


def test_without_a_cpu_bundle_the_release_is_not_rolled_back_for_it(tmp_path):
    """No other release would get the accelerator either: it is tried again until the process goes."""
    device = Device(tmp_path, targets=("onnx",))
    stuck = serving_on_tpu(device)
    stuck.heartbeat(busy_s=11.0)
    device.clock.advance(KILL_GRACE_S + 120.0)
    assert device.unit.record.slots.current.release == "m@1.0.0"
    assert len(device.processes.runners) == 1
    stuck.listener.exited("crashed", "killed by SIGKILL")
    device.clock.advance(31.0)
    take_over(device)
    assert model_report(device.unit).serving


def settle(device):
    """Every process does what it was asked for, and time goes on for a second."""
    for _ in range(10):
        for runner in device.processes.runners:
            runner.follow()
        device.clock.advance(0.1)


LEFT = {
    "withdrawn": lambda device: device.unit.withdraw(),
    "rollback": lambda device: device.unit.handle(events.RollbackOrdered()),
    "replaced": lambda device: device.unit.order(replace(order("1.2.0", 3), target="edgetpu")),
    "ordered back": lambda device: device.unit.order(replace(order("1.0.0", 3), target="edgetpu")),
}


@pytest.mark.parametrize("why", LEFT)
def test_the_release_that_made_room_serves_again_when_a_candidate_goes_before_it_was_ready(device, why):
    serving_on_tpu(device)
    on_tpu(device, "1.1.0", 2)
    assert device.unit.record.state is State.STAGED
    LEFT[why](device)
    settle(device)
    again = device.processes.runners[-1]
    assert again.job.release == "m@1.0.0"
    again.validate()
    again.follow()
    assert model_report(device.unit).serving


def test_a_release_on_the_cpu_serves_on_until_the_accelerators_candidate_does(device):
    device.install("1.0.0", 1)
    candidate = on_tpu(device, "1.1.0", 2)
    assert candidate.job.engine == "edgetpu"
    assert model_report(device.unit).serving
    candidate.listener.exited("no_accelerator", "no Edge TPU is plugged in")
    assert model_report(device.unit).serving


def test_a_candidate_on_the_accelerator_that_is_lost_leaves_it_until_it_is_tried_again(device):
    serving_on_tpu(device)
    on_tpu(device, "1.1.0", 2)
    settle(device)
    device.processes.runners[-1].listener.exited("killed", "killed by SIGKILL")
    before = device.processes.runners[-1]
    assert before.job.release == "m@1.0.0"
    before.validate()
    before.follow()
    assert model_report(device.unit).serving
    device.clock.advance(5.0)
    settle(device)
    assert device.processes.runners[-1].job.release == "m@1.1.0"


def failed_on_cpu(device, version, number):
    """A later order that failed, so that the release in service is no longer the latest deployment's."""
    device.unit.order(order(version, number))
    device.pump()
    device.processes.runners[-1].listener.exited("crashed", "killed by SIGSEGV")
    assert device.deployment.outcome == "failed"


def test_the_release_in_service_falls_back_though_a_later_order_has_failed(device):
    stuck = serving_on_tpu(device)
    failed_on_cpu(device, "1.1.0", 2)
    stuck.heartbeat(busy_s=11.0)
    device.clock.advance(KILL_GRACE_S)
    take_over(device)
    assert (device.unit.record.slots.current.release, device.unit.record.slots.current.target) == ("m@1.0.0", "cpu")
    assert model_report(device.unit).serving
    device.unit.order(replace(order("1.1.0", 2)))  # delivered once more: it has failed already
    assert device.unit.record.state is State.IDLE


def test_a_rollback_to_a_release_whose_accelerator_is_held_serves_it_from_the_cpu(device):
    """The candidate was slow, and its runner does not end when it is stopped."""
    serving_on_tpu(device)
    on_tpu(device, "1.1.0", 2)
    for _ in range(2):
        device.processes.runners[0].follow()
    device.clock.advance(0.2)
    slow = device.processes.runners[-1]
    slow.validate()
    slow.follow()
    slow.heartbeat(inferences=20, latency_us=20_000)
    assert device.deployment.reason == "latency_over_budget"
    device.clock.advance(STUCK_AFTER_S)
    take_over(device)
    assert (device.unit.record.slots.current.release, device.unit.record.slots.current.target) == ("m@1.0.0", "cpu")
    assert model_report(device.unit).serving


def test_an_accelerator_that_is_free_before_the_cpu_bundle_has_come_is_used(device):
    stuck = serving_on_tpu(device)
    stuck.heartbeat(busy_s=11.0)
    device.clock.advance(KILL_GRACE_S)
    stuck.listener.exited("crashed", "killed by SIGKILL")
    device.clock.advance(31.0)  # the other bundle's runner has not got ready
    again = device.processes.runners[-1]
    assert again.job.engine == "edgetpu"
    again.validate()
    again.follow()
    assert model_report(device.unit).serving


def test_an_order_that_replaces_a_hanging_trial_hears_nothing_of_it_later(device):
    serving_on_tpu(device)
    on_tpu(device, "1.1.0", 2)
    for _ in range(2):
        device.processes.runners[0].follow()
    device.clock.advance(0.2)
    hanging = device.processes.runners[-1]
    hanging.validate()
    hanging.follow()
    hanging.heartbeat(busy_s=11.0)
    device.unit.order(replace(order("1.2.0", 3), target="cpu"))
    take_over(device)
    assert (device.deployment.id, device.deployment.outcome) == ("d3", "succeeded")
    device.clock.advance(KILL_GRACE_S)
    assert device.unit.record.state is State.IDLE
    assert (device.deployment.id, device.deployment.outcome) == ("d3", "succeeded")


# -- real processes --------------------------------------------------------------------------------------------------


class Listening:
    """A service of a real runner, with this thread in place of the supervisor's."""

    def __init__(self, folder):
        self.calls: queue.Queue = queue.Queue()
        self.clock, self.failures = FakeClock(), []
        (folder / "model.tflite").write_bytes(tiny_model("add"))
        self._job = make_job(folder)
        self._processes = RealProcesses(self.calls.put, folder / "trust.json", folder)

    def start(self, exclusive=True):
        calls = ServiceCallbacks(lambda: None, lambda: None, lambda _beat: None, lambda *how: self.failures.append(how))
        service = Service(self._job, self._processes, self.clock, AgentSection(), calls)
        service.exclusive = exclusive
        return service

    def until(self, reached):
        end = time.monotonic() + 30
        while not reached():
            self.calls.get(timeout=max(0.0, end - time.monotonic()))()


def died_but_stays(pid):
    """In the stop on its way out; a process that is only being killed is gone within milliseconds."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"t", "T"}


def wait_for(reached):
    end = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_real_process_that_ignores_sigkill_is_not_waited_for_and_reaped_when_it_goes(tmp_path):
    rig = Listening(tmp_path)
    service = rig.start()
    rig.until(lambda: service.ready)
    try:
        with unkillable(service.pid):
            service._give_up("hang", "one inference has taken 11.0 s")
            wait_for(lambda: died_but_stays(service.pid))
            assert rig.failures == []
            rig.clock.advance(KILL_GRACE_S)
            assert service.stuck
            assert rig.failures[0][0] == "accelerator_hung"
            second = rig.start(exclusive=False)
            rig.until(lambda: second.ready)
    except PermissionError as error:
        pytest.skip(str(error))
    rig.until(lambda: service.gone)
    assert not service.stuck
    second.kill()
    rig.until(lambda: second.gone)
    for pid in (service.pid, second.pid):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


class StuckUpdater:
    """Answers nothing, and is still there after it was killed."""

    def __init__(self):
        self.killed = threading.Event()

    def communicate(self, job=None, timeout=None):
        if timeout is None:
            raise AssertionError("waited for without end")

        raise subprocess.TimeoutExpired("updater", timeout)

    def kill(self):
        self.killed.set()


def test_an_updater_that_cannot_be_killed_is_not_waited_for_either():
    updater = StuckUpdater()
    assert _converse(updater, b"job").reason == "updater_timeout"
    assert updater.killed.is_set()


def test_what_a_runner_says_after_it_was_given_up_changes_nothing(device):
    stuck = serving_on_tpu(device)
    stuck.heartbeat(busy_s=11.0)
    for message in (Loaded(1.0, 1), Ready(1, 0, 1.0), Accepting()):
        stuck.listener.received(message)
    assert not model_report(device.unit).serving
