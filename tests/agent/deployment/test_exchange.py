"""Another runner takes over under other settings: nobody goes unanswered, and a candidate is not disturbed."""

from msgspec.structs import replace

from skerry_agent.machine import events
from skerry_agent.machine.records import State
from skerry_agent.ports.runner_protocol import Accept, Drain
from tests.kit.unit import Device, order


def set_values(device, values="sample"):
    """As settings from afar do: another configuration, and every runner by it."""
    context = device.unit.context
    section = replace(context.config.models["m"], api_values=values)
    context.config = replace(context.config, models={"m": section})
    device.unit.reload()


def serving(tmp_path, **more):
    device = Device(tmp_path, **more)
    return device, device.install("1.0.0", 1)


def test_the_one_before_answers_until_the_other_does(tmp_path):
    device, before = serving(tmp_path)
    set_values(device)
    other = device.processes.runners[-1]
    assert (other is not before, other.job.api_values, other.job.committed) == (True, "sample", True)
    assert before.sent == []
    other.validate()
    assert any(isinstance(each, Accept) for each in other.sent)
    assert device.unit.current.job.api_values == "raw"
    other.follow()
    assert device.unit.current.job.api_values == "sample"
    assert any(isinstance(each, Drain) for each in before.sent)
    before.follow()
    assert before.listener.gone
    assert device.unit.record.state is State.IDLE


def test_one_that_fails_before_it_accepts_changes_nothing(tmp_path):
    device, before = serving(tmp_path)
    set_values(device)
    device.processes.runners[-1].listener.exited("crashed", "killed by SIGSEGV")
    assert device.unit.exchange.failure == ("crashed", "killed by SIGSEGV")
    assert device.unit.current.accepting
    assert before.sent == []
    assert device.unit.record.failures == 0, "no release is blamed for it"


def test_where_another_would_be_told_just_the_same_nothing_is_exchanged(tmp_path):
    device, _ = serving(tmp_path)
    runners = len(device.processes.runners)
    set_values(device, "raw")
    assert (len(device.processes.runners), device.unit.exchange.under_way) == (runners, False)


def test_it_waits_while_a_candidate_is_on_trial_and_is_done_after_it(tmp_path):
    device, _ = serving(tmp_path)
    device.unit.order(order("1.1.0", 2))
    device.pump()
    candidate = device.processes.runners[-1]
    candidate.validate()
    candidate.follow()
    assert device.unit.record.state is State.PROBATION
    set_values(device)
    device.unit.exchange_runner()
    assert device.processes.runners[-1] is candidate
    candidate.heartbeat(inferences=20)
    candidate.follow()
    assert device.unit.record.slots.current.release == "m@1.1.0"
    device.unit.exchange_runner()
    other = device.processes.runners[-1]
    assert (other.job.release, other.job.api_values) == ("m@1.1.0", "sample")


def test_one_that_is_under_way_gives_way_to_a_candidate(tmp_path):
    device, _ = serving(tmp_path)
    set_values(device)
    other = device.processes.runners[-1]
    device.unit.order(order("1.1.0", 2))
    device.pump()
    candidate = device.processes.runners[-1]
    assert candidate.job.release == "m@1.1.0"
    assert any(isinstance(each, Drain) for each in other.sent), "two that serve would share its requests"
    candidate.listener.exited("crashed", "killed by SIGSEGV")
    device.unit.exchange_runner()
    again = device.processes.runners[-1]
    assert (again.job.release, again.job.api_values) == ("m@1.0.0", "sample")


def test_a_rollback_meanwhile_needs_no_exchange_any_more(tmp_path):
    device, _ = serving(tmp_path)
    newer = device.install("1.1.0", 2)
    set_values(device)
    device.unit.handle(events.RollbackOrdered())
    newer.follow()
    back = device.processes.runners[-1]
    assert (back.job.release, back.job.api_values) == ("m@1.0.0", "sample")
    assert not device.unit.exchange.under_way


def test_on_an_accelerator_for_one_process_the_gap_is_measured(tmp_path):
    device = Device(tmp_path, targets=("edgetpu", "cpu"))
    device.unit.order(replace(order("1.0.0", 1), target="edgetpu"))
    device.pump()
    before = device.processes.runners[-1]
    before.validate()
    before.follow()
    before.heartbeat(inferences=20)
    before.follow()
    set_values(device)
    assert any(isinstance(each, Drain) for each in before.sent), "two cannot have it"
    before.follow()
    before.follow()
    device.clock.advance(0.5)
    other = device.processes.runners[-1]
    assert other is not before
    other.validate()
    other.follow()
    assert device.unit.gap_us == 500_000
    assert device.unit.current.job.api_values == "sample"


def test_limits_follow_at_once_for_runners_that_are_there(tmp_path):
    device, runner = serving(tmp_path)
    context = device.unit.context
    context.config = replace(context.config, agent=replace(context.config.agent, hang_s=3.0))
    device.unit.use_limits()
    runner.heartbeat(busy_s=4.0)
    assert runner.killed
