"""Too low a supply voltage is blamed for what it causes, and the release is not."""

import pytest

from skerry_agent.machine.table import MAX_CRASHES
from tests.kit.unit import Device, order


@pytest.fixture
def device(tmp_path):
    device = Device(tmp_path)
    device.install("1.0.0", 1)
    return device


def candidate_on_trial(device, number=2):
    device.unit.order(order("1.1.0", number))
    device.pump()
    candidate = device.processes.runners[-1]
    candidate.validate()
    candidate.follow()
    return candidate


def crashes(device, runner):
    runner.listener.exited("crashed", "killed by SIGSEGV")


def hangs(device, runner):
    runner.heartbeat(busy_s=11.0)


def falls_silent(device, runner):
    device.clock.advance(16.0)


def is_slow(device, runner):
    runner.heartbeat(inferences=20, latency_us=20_000)


def is_too_slow_for_any_figure(device, runner):
    for _ in range(30):
        runner.heartbeat(inferences=0)
        device.clock.advance(1.0)


FAULTS = [crashes, hangs, falls_silent, is_slow, is_too_slow_for_any_figure]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_failure_in_probation_while_the_voltage_was_too_low_is_the_power_supplys(device, fault):
    candidate = candidate_on_trial(device)
    device.low_supply = device.clock.monotonic()
    fault(device, candidate)
    assert (device.deployment.outcome, device.deployment.reason) == ("rolled_back", "power_supply")
    assert "hwmon rpi_volt" in device.deployment.detail
    assert device.unit.record.slots.current.release == "m@1.0.0"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_same_failure_on_a_good_supply_is_the_releases(device, fault):
    device.low_supply = device.clock.monotonic()  # that was before the trial
    device.clock.advance(1.0)
    fault(device, candidate_on_trial(device))
    assert device.deployment.outcome == "rolled_back"
    assert device.deployment.reason in {"crashed", "hang", "latency_over_budget", "too_few_inferences"}


def test_a_wrong_answer_is_the_releases_whatever_the_voltage(device):
    candidate = candidate_on_trial(device)
    device.low_supply = device.clock.monotonic()
    candidate.heartbeat(inferences=5, invalid_outputs=1)
    assert device.deployment.reason == "invalid_output"


def test_it_is_tried_again_when_it_is_ordered_again(device):
    candidate = candidate_on_trial(device)
    device.low_supply = device.clock.monotonic()
    crashes(device, candidate)
    device.processes.runners[0].follow()
    device.clock.advance(60.0)
    again = candidate_on_trial(device, 3)
    again.heartbeat(inferences=20)
    assert (device.deployment.id, device.deployment.outcome) == ("d3", "succeeded")


def test_the_release_in_service_is_not_given_up_for_crashes_of_a_weak_supply(device):
    candidate_on_trial(device).heartbeat(inferences=20)
    assert device.unit.record.slots.previous.release == "m@1.0.0"
    for _ in range(MAX_CRASHES + 2):
        device.low_supply = device.clock.monotonic()
        crashes(device, device.processes.runners[-1])
        device.clock.advance(31.0)
    assert device.unit.record.slots.current.release == "m@1.1.0"
    assert (device.unit.record.crashes, device.unit.record.outages) == (0, MAX_CRASHES + 2)
