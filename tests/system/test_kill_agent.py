"""kill -9 of the supervisor in every state of its machine, at the last instant of that state: it converges afterwards.

The kill comes when the supervisor is about to rename its N-th journal record into place: all work of the state before
is done, and nothing of it is known to the journal. The lab kills at every other system call.
"""

from dataclasses import dataclass

import pytest

from tests.system.fleet import BAD, FIRST, SECOND, Device, await_end, outcomes, start_rollout

pytestmark = pytest.mark.system


@dataclass(frozen=True)
class Case:
    """In `state`, which ends with journal write `write`, on the way to `order`: what the device serves in the end."""

    state: str
    write: int
    order: str = SECOND
    serves: str = SECOND
    ends: tuple[str, str] = ("succeeded", "")


CASES = [
    Case("fetching", 2),
    Case("verifying", 3),
    Case("staged", 4),
    Case("probation", 5),
    Case("committed", 6),
    Case("rolling_back", 6, BAD, FIRST, ("rolled_back", "latency_over_budget")),
]


def assert_clean(device: Device, release: str) -> None:
    """Serving, with nothing left over on the disk or in the process table."""
    status = device.await_serving(release)
    assert status["models"]["fashion"]["candidate"] is None
    assert device.bundles() == device.held()
    assert not list((device.state / "blobs").iterdir())
    assert device.command("selftest").returncode == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.state)
def test_killed_in_a_state(home, device, case):
    device.start(kill_at_journal_write=case.write)
    device.await_serving(FIRST)
    rollout = start_rollout(home, case.order, device.id)
    device.await_death()
    assert device.state_name() == case.state
    device.start()
    view = await_end(home, rollout)
    assert outcomes(view) == {case.ends}
    assert_clean(device, case.serves)


def test_killed_while_idle_and_ordered_while_dead(home, running):
    running.kill()
    rollout = start_rollout(home, SECOND, running.id)
    running.start()
    assert outcomes(await_end(home, rollout)) == {("succeeded", "")}
    assert_clean(running, SECOND)


def test_two_supervisors_never_share_a_state_folder(running):
    second = running.command("run")
    assert second.returncode == 1
    assert "another agent runs" in second.stderr
