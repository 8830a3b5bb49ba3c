"""One model from order to commit and back, with fakes behind the ports: what is done, and in which order."""

import itertools
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from skerry_agent.machine import events
from skerry_agent.machine.causes import TRIED_AGAIN
from skerry_agent.machine.records import State
from skerry_agent.machine.table import MAX_ATTEMPTS, MAX_CRASHES
from skerry_agent.ports.jobs import PlanJob, Planned, Refusal, Staged, StageJob
from skerry_agent.ports.runner_protocol import Accept, Drain, Refused
from skerry_agent.state.journal import Journal
from skerry_agent.supervisor.report import model_report
from skerry_agent.wire.twin import RuntimeReport
from tests.kit.unit import Device, order


@pytest.fixture
def device(tmp_path):
    return Device(tmp_path)


def test_a_release_is_fetched_proven_tried_and_committed(device):
    runner = device.install("1.0.0", 1)
    assert device.unit.record.state is State.IDLE
    assert device.unit.record.slots.current.release == "m@1.0.0"
    assert device.journal.read()[0] == device.unit.record
    assert not runner.killed


def test_the_old_runner_serves_until_the_new_one_accepts(device):
    old = device.install("1.0.0", 1)
    device.unit.order(order("1.1.0", 2))
    device.pump()
    new = device.processes.runners[-1]
    assert old.sent == []
    new.validate()
    assert old.sent == []
    new.follow()
    assert old.sent == [Drain(5.0)]


def test_a_slow_candidate_gives_the_socket_back_without_a_restart(device):
    old = device.install("1.0.0", 1)
    device.unit.order(order("1.2.0", 2))
    device.pump()
    slow = device.processes.runners[-1]
    slow.validate()
    slow.follow()
    old.follow()
    slow.heartbeat(inferences=20, latency_us=20_000)
    assert device.deployment.reason == "latency_over_budget"
    assert Accept(0.0) in old.sent
    old.follow()
    slow.follow()
    assert device.deployment.outcome == "rolled_back"
    assert device.unit.record.state is State.IDLE
    assert device.unit.record.slots.current.release == "m@1.0.0"
    assert len(device.processes.runners) == 2


def test_a_refused_candidate_never_served(device):
    old = device.install("1.0.0", 1)
    device.unit.order(order("1.1.0", 2))
    device.pump()
    bad = device.processes.runners[-1]
    bad.listener.received(Refused("golden_mismatch", "top-1 agrees on 3 of 16"))
    bad.listener.exited("crashed", "exit status 1")
    assert (device.deployment.outcome, device.deployment.reason) == ("failed", "golden_mismatch")
    assert old.sent == []


def test_only_the_runner_of_the_current_release_is_told_that_it_is_committed(device):
    """It serves although its golden file is damaged; a candidate has to be proven by it."""
    assert not device.install("1.0.0", 1).job.committed
    device.boot()
    assert [runner.job.committed for runner in device.processes.runners] == [True]
    device.unit.order(order("1.1.0", 2))
    device.pump()
    assert [runner.job.committed for runner in device.processes.runners] == [True, False]


def test_a_runner_is_told_what_agent_toml_says_of_its_applications(device):
    assert device.install("1.0.0", 1).job.api_values == "raw"


@pytest.mark.parametrize("when", ["loading", "serving"])
def test_a_crash_of_the_candidate_is_explained(device, when):
    device.install("1.0.0", 1)
    device.unit.order(order("1.1.0", 2))
    device.pump()
    bad = device.processes.runners[-1]
    if when == "serving":
        bad.validate()
        bad.follow()
    bad.listener.exited("crashed", "killed by SIGSEGV: bad model")
    assert device.deployment.outcome == ("rolled_back" if when == "serving" else "failed")
    assert device.deployment.detail == "killed by SIGSEGV: bad model"


def test_a_candidate_that_hangs_in_one_inference_is_killed(device):
    device.install("1.0.0", 1)
    device.unit.order(order("1.1.0", 2))
    device.pump()
    bad = device.processes.runners[-1]
    bad.validate()
    bad.follow()
    bad.heartbeat(busy_s=11.0)
    assert bad.killed
    assert device.deployment.reason == "hang"


def test_a_candidate_that_falls_silent_is_killed(device):
    device.install("1.0.0", 1)
    device.unit.order(order("1.1.0", 2))
    device.pump()
    bad = device.processes.runners[-1]
    bad.validate()
    bad.follow()
    device.clock.advance(16.0)
    assert bad.killed
    assert device.deployment.reason == "hang"


def test_a_candidate_that_never_gets_ready_times_out(device):
    device.unit.order(order("1.0.0", 1))
    device.pump()
    device.clock.advance(61.0)
    assert device.processes.runners[-1].killed
    assert (device.deployment.outcome, device.deployment.reason) == ("failed", "start_timeout")


def test_a_candidate_is_not_blamed_for_inputs_that_no_model_could_answer(device):
    """A thousand damaged files, or clients that send garbage, beside twenty good inputs."""
    device.install("1.0.0", 1)
    device.unit.order(order("1.1.0", 2))
    device.pump()
    new = device.processes.runners[-1]
    new.validate()
    new.follow()
    new.heartbeat(inferences=5, input_errors=1000)
    assert device.unit.record.state is State.PROBATION
    new.heartbeat(inferences=15, input_errors=1000)
    assert device.deployment.outcome == "succeeded"


def test_a_source_that_cannot_be_used_is_an_issue_of_the_device_and_the_release_serves(device):
    device.unit.order(order("1.0.0", 1))
    device.pump()
    runner = device.processes.runners[-1]
    runner.validate()
    runner.follow()
    told = len(device.changes)
    runner.heartbeat(inferences=5, source_issues=("source_failed: camera source /dev/video0 cannot be opened",))
    assert device.unit.issues == ("m: source_failed: camera source /dev/video0 cannot be opened",)
    assert len(device.changes) == told + 1
    runner.heartbeat(inferences=5, source_issues=("source_failed: camera source /dev/video0 cannot be opened",))
    assert device.deployment.outcome == "succeeded"
    runner.heartbeat()
    assert device.unit.issues == ()


def on_probation(device, version="1.0.0", number=1):
    """Its runner, once the candidate of a release is on probation."""
    device.unit.order(order(version, number))
    device.pump()
    return admitted(device)


def admitted(device):
    runner = device.processes.runners[-1]
    runner.validate()
    runner.follow()
    assert device.unit.record.state is State.PROBATION
    return runner


def test_an_empty_watched_folder_at_a_first_rollout_is_no_fault_of_the_release(device):
    """It was rolled back as too_few_inferences, and the device had nothing; golden inputs show that it runs."""
    runner = on_probation(device)
    assert runner.exercised_at_hz > 0
    for _ in range(4):
        device.clock.advance(2.5)
        assert device.deployment.outcome is None
        runner.exercised(3)
    assert device.deployment.outcome == "succeeded"
    assert runner.exercised_at_hz == 0


def test_a_slow_and_quiet_candidate_passes_with_what_it_has_run_when_its_time_is_over(device):
    runner = on_probation(device)
    device.clock.advance(9.0)
    runner.heartbeat(inferences=1)
    device.clock.advance(9.0)
    runner.exercised(1)
    assert device.unit.trial_progress == "1 inferences and 1 golden inputs so far"
    device.clock.advance(3.5)
    assert (device.deployment.outcome, device.unit.trial_progress) == ("succeeded", "")


def test_a_golden_input_answered_wrongly_in_service_fails(device):
    device.install("1.0.0", 1)
    runner = on_probation(device, "1.1.0", 2)
    runner.exercised(1, wrong=1)
    assert (device.deployment.outcome, device.deployment.reason) == ("rolled_back", "golden_mismatch")


def test_a_machine_that_stood_still_during_probation_blames_nobody(device):
    """Suspended, or its processes stopped: all timers are late at once, and nobody was heard meanwhile."""
    runner = on_probation(device)
    device.clock.advance(1.0)
    device.clock.now += 3600.0  # nothing ran in this hour
    device.clock.advance(0.1)
    assert (runner.killed, device.deployment.outcome) == (False, None)
    device.clock.advance(5.0)
    runner.exercised(20)
    device.clock.advance(9.0)
    runner.exercised(1)
    assert device.deployment.outcome == "succeeded"


def test_a_machine_that_stood_still_while_a_candidate_loaded_blames_nobody(device):
    device.unit.order(order("1.0.0", 1))
    device.pump()
    device.clock.now += 3600.0
    device.clock.advance(0.1)
    assert (device.processes.runners[-1].killed, device.deployment.outcome) == (False, None)


def lose(device, reason):
    device.processes.runners[-1].listener.exited(reason, "why")


@pytest.mark.parametrize("reason", sorted(TRIED_AGAIN))
@pytest.mark.parametrize("serving", [False, True], ids=["loading", "on probation"])
def test_a_candidate_lost_for_a_reason_outside_it_is_tried_again_while_the_one_before_serves(device, reason, serving):
    old = device.install("1.0.0", 1)
    device.unit.order(order("1.1.0", 2))
    device.pump()
    if serving:
        admitted(device)
        old.follow()
    lose(device, reason)
    assert (device.deployment.outcome, device.unit.record.state) == (None, State.STAGED)
    old.follow()
    assert device.unit.current.accepting
    assert len(device.processes.runners) == 2  # not at once
    device.clock.advance(5.0)
    admitted(device).heartbeat(inferences=20)
    assert device.deployment.outcome == "succeeded"


@pytest.mark.parametrize("reason", ["not_started", "oom_killed"])
def test_a_candidate_that_is_lost_each_time_ends_with_that_reason(device, reason):
    old = device.install("1.0.0", 1)
    device.unit.order(order("1.1.0", 2))
    device.pump()
    for _ in range(MAX_ATTEMPTS):
        lose(device, reason)
        device.clock.advance(8.0)
        old.heartbeat()
    said = device.deployment
    assert (said.outcome, said.reason, said.detail) == ("failed", reason, "begun 3 times: why")
    assert device.unit.record.slots.current.release == "m@1.0.0"


def test_a_board_that_gives_a_runner_no_processor_is_busy_and_that_is_said(device):
    device.unit.order(order("1.0.0", 1))
    device.pump()
    runner = device.processes.runners[-1]
    for _ in range(16):
        device.clock.advance(14.9)
        assert device.deployment.outcome is None
        runner.heartbeat(cpu_s=1.0, waited_s=10.0)
    device.clock.advance(14.9)
    assert runner.killed
    assert device.unit.record.state is State.STAGED
    assert device.deployment.attempts == 1


def test_a_runner_that_somebody_stopped_is_not_called_hung(device):
    device.install("1.0.0", 1)
    runner = on_probation(device, "1.1.0", 2)
    runner.stopped = True
    for _ in range(4):
        device.clock.advance(5.0)
    assert runner.killed
    assert (device.deployment.outcome, device.unit.record.state) == (None, State.STAGED)


def test_the_same_order_is_carried_out_once(device):
    device.install("1.0.0", 1)
    started = len(device.processes.runners)
    device.unit.order(order("1.0.0", 1))
    assert len(device.processes.runners) == started


def test_a_fetch_that_takes_too_long_ends_in_a_reported_state(device):
    device.link.retained.clear()
    device.unit.order(order("1.0.0", 1, deadline_s=60.0))
    device.clock.advance(59.0)
    assert device.deployment.outcome is None
    device.clock.advance(2.0)
    assert device.deployment.outcome == "timed_out"
    assert not device.link.subscribed


def test_folders_that_somebody_removes_under_a_running_agent_are_made_again(device):
    device.install("1.0.0", 1)
    for name in ("blobs", "bundles"):
        shutil.rmtree(device.folder / name)
    (device.folder / "bundles").mkdir()  # the updater's, in `make_folder`
    device.install("1.1.0", 2)
    assert device.journal.read()[0].slots.current.release == "m@1.1.0"


@pytest.mark.parametrize("restart", [False, True])
def test_staging_that_never_ends_is_over_at_the_deadline(device, restart):
    device.stage = None
    device.unit.order(order("1.0.0", 1, deadline_s=60.0))
    device.pump()
    device.clock.advance(30.0)
    assert device.unit.record.state is State.VERIFYING
    if restart:
        device.boot()
    device.clock.advance(29.0)
    assert device.unit.record.state is State.VERIFYING
    device.clock.advance(2.0)
    assert device.deployment.outcome == "timed_out"


def test_what_an_updater_answers_too_late_is_nothing_to_the_next_deployment(device):
    device.stage = None
    device.unit.order(order("1.0.0", 1))
    device.pump()
    late = device.processes.askers[-1]
    device.unit.order(order("1.1.0", 2))
    late(Staged("f" * 64))
    assert (device.deployment.id, device.unit.record.state) == ("d2", State.FETCHING)


@pytest.mark.parametrize("outcome", ["failed", "rejected"])
def test_what_has_failed_is_not_tried_again_until_it_is_ordered_again(device, outcome):
    device.plan = Refusal(outcome, "why")
    device.unit.order(order("1.0.0", 1))
    device.pump()
    assert device.deployment.outcome == outcome
    device.unit.order(order("1.0.0", 1))
    assert len([job for job in device.processes.jobs if isinstance(job, PlanJob)]) == 1
    device.unit.order(order("1.0.0", 2))
    assert device.deployment.id == "d2"


def test_a_candidate_that_runs_nothing_at_all_fails_at_the_time_limit(device):
    runner = on_probation(device)
    for _ in range(2):
        device.clock.advance(9.0)
        runner.heartbeat()
    device.clock.advance(3.5)
    assert (device.deployment.outcome, device.deployment.reason) == ("rolled_back", "too_few_inferences")


def test_a_runner_that_does_not_drain_is_killed(device):
    old = device.install("1.0.0", 1)
    device.install("1.1.0", 2)
    assert old.sent[-1] == Drain(5.0)
    device.clock.advance(6.0)
    assert not old.killed
    device.clock.advance(2.0)
    assert old.killed


def test_a_rejected_manifest_ends_the_deployment(device):
    device.plan = Refusal("rejected", "untrusted", "no valid signature")
    device.unit.order(order("1.0.0", 1))
    device.pump()
    assert (device.deployment.outcome, device.deployment.detail) == ("rejected", "no valid signature")


def test_a_failed_patch_asks_for_the_full_file(device):
    device.plan, device.stage = Planned("patch", ()), Refusal("patch_failed", "damaged", "")
    device.unit.order(order("1.0.0", 1))
    device.pump()
    plans = [job for job in device.processes.jobs if isinstance(job, PlanJob)]
    assert [job.force_full for job in plans] == [False, True]
    assert (device.deployment.outcome, device.deployment.reason) == ("failed", "patch_failed")


@pytest.mark.parametrize("fallback", ["always", "never"])
def test_a_board_that_loses_power_each_time_it_applies_a_patch_does_not_do_so_for_ever(device, fallback):
    device.plan, device.stage = Planned("patch", ()), None
    device.unit.order(order("1.1.0", 2, full_fallback=fallback))
    device.pump()
    begun = 0
    while device.unit.record.state is State.VERIFYING and device.deployment.transfer == "patch":
        device.clock.advance(10.0)
        begun += len([job for job in device.processes.jobs if isinstance(job, StageJob)])
        device.boot()
    assert begun == MAX_ATTEMPTS
    why = "agent_restarts: the agent restarted 3 times at this stage"
    said = model_report(device.unit).deployment
    if fallback == "never":
        assert (said.outcome, f"{said.reason}: {said.detail}") == ("failed", why)
    else:
        assert (said.state, said.transfer, said.detail) == ("verifying", "full", why)
        for _ in range(MAX_ATTEMPTS):
            assert device.unit.record.state is State.VERIFYING
            device.boot()
        assert (device.deployment.outcome, device.deployment.reason) == ("failed", "agent_restarts")


def test_what_a_board_cannot_hold_is_had_whole_or_rejected(device):
    device.plan, device.stage = Planned("patch", ()), Refusal("patch_refused", "not_enough_memory", "9 B are free")
    device.unit.order(order("1.1.0", 2, full_fallback="never"))
    device.pump()
    assert (device.deployment.outcome, device.deployment.reason) == ("rejected", "not_enough_memory")
    device.unit.order(order("1.1.0", 3))
    device.pump()
    assert [job.force_full for job in device.processes.jobs if isinstance(job, PlanJob)] == [False, False, True]


def test_a_newer_order_replaces_the_one_under_way(device):
    device.unit.order(order("1.0.0", 1))
    device.unit.order(order("1.1.0", 2))
    device.pump()
    assert device.deployment.id == "d2"
    assert [r.job.release for r in device.processes.runners] == ["m@1.1.0"]


def test_after_a_kill_every_state_is_taken_up_again(device):
    """Killed while staged: the next start serves the old model and tries the candidate again."""
    device.install("1.0.0", 1)
    device.unit.order(order("1.1.0", 2))
    device.pump()
    assert device.unit.record.state is State.STAGED
    device.boot()
    releases = [r.job.release for r in device.processes.runners]
    assert releases == ["m@1.0.0", "m@1.1.0"]
    for runner in device.processes.runners:
        runner.validate()
        runner.follow()
    device.processes.runners[-1].heartbeat(inferences=20)
    assert device.unit.record.slots.current.release == "m@1.1.0"


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(path.read_bytes()[:-3]), Path.unlink])
def test_one_lost_record_costs_nothing_however_often_the_device_starts(device, spoil):
    device.install("1.0.0", 1)
    for event in (events.CurrentFailed("crashed"), events.Healthy()):  # so that the record before is at rest, too
        device.unit.handle(event)
    spoil(device.folder / "journal.json")
    for boot in range(3):
        assert (Journal(device.folder / "journal.json").read()[1] is None) == bool(boot)
        device.boot()
        device.clock.advance(1.0)
        assert [runner.job.release for runner in device.processes.runners] == ["m@1.0.0"]
        assert bool(device.unit.issues) == (not boot)


def test_a_current_model_that_keeps_crashing_is_replaced_by_the_previous_one(device):
    device.install("1.0.0", 1)
    device.install("1.1.0", 2)
    for _ in range(MAX_CRASHES):
        device.processes.runners[-1].listener.exited("crashed", "killed by SIGSEGV")
        assert device.unit.trouble == "m is not served: crashed: killed by SIGSEGV"
        device.clock.advance(5.0)
    last = device.processes.runners[-1]
    assert last.job.release == "m@1.0.0"
    last.validate()
    last.follow()
    assert device.unit.record.state is State.IDLE
    assert device.unit.trouble is None
    assert (device.deployment.outcome, device.deployment.reason) == ("rolled_back", "crashed")


def test_the_current_runner_may_be_found_healthy_while_it_takes_the_socket_back(device):
    """Its ten seconds may be over just then: the event ended the supervisor."""
    device.install("1.0.0", 1)
    device.unit.order(order("1.2.0", 2))
    device.pump()
    slow = device.processes.runners[-1]
    device.clock.advance(9.0)
    slow.validate()
    slow.follow()
    device.processes.runners[0].follow()
    slow.heartbeat(inferences=20, latency_us=20_000)
    assert device.unit.record.state is State.ROLLING_BACK
    device.clock.advance(1.5)
    device.processes.runners[0].follow()
    assert device.unit.record.state is State.IDLE


def test_a_rollback_to_a_damaged_bundle_comes_back_to_what_served(device):
    device.install("1.0.0", 1)
    device.install("1.1.0", 2)
    device.unit.handle(events.RollbackOrdered())
    older = device.processes.runners[-1]
    assert (older.job.release, device.unit.record.state) == ("m@1.0.0", State.ROLLING_BACK)
    older.listener.received(Refused("damaged", "model.tflite"))
    older.listener.exited("crashed", "exit status 3")
    again = device.processes.runners[-1]
    assert again.job.release == "m@1.1.0"
    again.validate()
    again.follow()
    assert (device.unit.record.state, device.unit.record.slots.current.release) == (State.IDLE, "m@1.1.0")
    assert device.unit.issues == ("m stays at m@1.1.0, because m@1.0.0 does not serve: damaged: model.tflite",)


def test_what_cannot_be_journalled_is_not_begun(device, monkeypatch):
    old = device.install("1.0.0", 1)
    monkeypatch.setattr(device.unit._journal, "write", _disk_full)
    device.unit.order(order("1.1.0", 2))
    assert device.unit.record.state is State.IDLE
    assert device.unit.issues == ("the order of m@1.1.0 waits: journal of m: No space left on device",)
    assert old.sent == []
    device.unit.handle(events.RollbackOrdered())  # the serving side works on without a journal
    assert device.unit.record.state is State.IDLE


def _disk_full(_record):
    raise OSError(28, "No space left on device")


def test_an_order_that_cannot_be_journalled_is_tried_again_until_it_can(device, monkeypatch):
    with monkeypatch.context() as full:
        full.setattr(device.unit._journal, "write", _disk_full)
        device.unit.order(order("1.1.0", 2))
        device.unit.order(order("1.1.0", 2))
        device.clock.advance(50.0)
        report = model_report(device.unit).deployment
        assert (report.id, report.outcome, report.detail) == ("d2", None, "waiting until the journal can be written")
    device.clock.advance(60.0)
    assert (device.deployment.id, device.unit.record.state) == ("d2", State.FETCHING)
    assert device.unit.issues == ()
    assert device.unit.waiting.deployment is None


def test_the_pauses_between_tries_grow(device, monkeypatch):
    tries = []

    def write(_record):
        tries.append(device.clock.now)
        _disk_full(_record)

    monkeypatch.setattr(device.unit._journal, "write", write)
    device.unit.order(order("1.0.0", 1))
    device.clock.advance(200.0)
    assert [b - a for a, b in itertools.pairwise(tries)] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_an_order_that_never_could_be_journalled_ends_in_a_reported_state(device, monkeypatch):
    monkeypatch.setattr(device.unit._journal, "write", _disk_full)
    device.unit.order(order("1.0.0", 1, deadline_s=100.0))
    device.clock.advance(101.0)
    assert (device.deployment.id, device.deployment.outcome, device.deployment.reason) == ("d1", "timed_out", "disk")
    assert "No space left" in device.deployment.detail
    assert device.unit.waiting.deployment is None


@pytest.mark.parametrize("otherwise", ["withdrawn", "replaced"])
def test_an_order_that_waits_is_given_up_when_the_host_wants_something_else(device, monkeypatch, otherwise):
    with monkeypatch.context() as full:
        full.setattr(device.unit._journal, "write", _disk_full)
        device.unit.order(order("1.0.0", 1))
    if otherwise == "withdrawn":
        device.unit.withdraw()
    else:
        device.unit.order(order("1.1.0", 2))
    device.clock.advance(100.0)
    assert device.deployment is None if otherwise == "withdrawn" else device.deployment.id == "d2"


def test_a_bundle_that_fails_for_weeks_is_still_tried_every_half_minute(device):
    """The pause is doubled with each crash: computed without bound, it ended the supervisor after 1,024 of them."""
    device.install("1.0.0", 1)
    device.unit.record = replace(device.unit.record, crashes=5000)
    device.processes.runners[-1].listener.exited("crashed", "killed by SIGSEGV")
    before = len(device.processes.runners)
    device.clock.advance(30.0)
    assert len(device.processes.runners) == before + 1


def test_an_accelerator_for_one_process_is_freed_first_and_the_gap_is_measured(tmp_path):
    device = Device(tmp_path)
    exclusive = replace(order("1.0.0", 1), target="edgetpu")
    device.unit.order(exclusive)
    device.pump()
    first = device.processes.runners[-1]
    first.validate()
    first.follow()
    first.heartbeat(inferences=20)

    device.unit.order(replace(order("1.1.0", 2), target="edgetpu"))
    device.pump()
    assert len(device.processes.runners) == 1
    first.follow()
    first.follow()
    device.clock.advance(0.2)
    second = device.processes.runners[-1]
    assert second is not first
    second.validate()
    device.clock.advance(0.3)
    second.follow()
    assert device.unit.gap_us == pytest.approx(500_000)


def order_for_tpu(device, version, number):
    device.unit.order(replace(order(version, number), target="edgetpu"))
    device.pump()
    return device.processes.runners[-1]


def test_a_missing_accelerator_falls_back_to_the_cpu_bundle_and_says_so(device):
    refused = order_for_tpu(device, "1.0.0", 1)
    refused.listener.received(Refused("no_accelerator", "no Edge TPU is plugged in"))
    refused.listener.exited("crashed", "exit status 3")
    device.pump()
    fallback = device.processes.runners[-1]
    assert (refused.job.engine, fallback.job.engine) == ("edgetpu", "litert")
    fallback.validate()
    fallback.follow()
    fallback.heartbeat(inferences=20)
    assert (device.deployment.id, device.deployment.outcome) == ("d1", "succeeded")
    assert device.unit.record.slots.current.target == "cpu"
    assert device.unit.issue == "m runs without the Edge TPU: no Edge TPU is plugged in"
    assert model_report(device.unit).runtime == RuntimeReport("ai-edge-litert", "2.3.0", "XNNPACK")


def test_an_accelerator_that_is_pulled_out_in_service_is_done_without(device):
    first = order_for_tpu(device, "1.0.0", 1)
    first.validate()
    first.follow()
    first.heartbeat(inferences=20)
    first.listener.exited("no_accelerator", "the Edge TPU was lost")
    device.pump()
    fallback = device.processes.runners[-1]
    assert fallback.job.engine == "litert"
    fallback.validate()
    fallback.follow()
    fallback.heartbeat(inferences=20)
    assert device.unit.record.slots.current.target == "cpu"
