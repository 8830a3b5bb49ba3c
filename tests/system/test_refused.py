"""Real agents that refuse what a real plane orders: the rollout ends at once with the reason, and the log has it."""

import json
import time

import pytest

from tests.kit.commands import skerry
from tests.kit.home import make_home
from tests.system.fleet import FIRST, SECOND, await_end, outcomes, start_rollout

pytestmark = pytest.mark.system
AT_ONCE_S = 20.0


def test_a_device_of_another_host_ends_its_rollout_at_once(home, device, tmp_path):
    """Before, the rollout ended when the host's patience did: "no report for ..."."""
    other = make_home(tmp_path / "other")
    trust = (device.folder / "trust.json").read_text()
    ours = {path.name: path.read_bytes() for path in home.keys.iterdir()}
    theirs = {path.name: path.read_bytes() for path in other.keys.iterdir()}
    assert ours.keys() == theirs.keys()
    assert ours != theirs
    (device.folder / "trust.json").write_text(trust.replace(*keys_of(trust, other)))
    device.start()
    device.await_serving(FIRST)
    began = time.monotonic()
    view = await_end(home, start_rollout(home, SECOND, device.id))
    assert outcomes(view) == {("rejected", "untrusted")}
    assert time.monotonic() - began < AT_ONCE_S
    (deployment,) = view["deployments"]
    assert "put this host's trust.json on the device" in deployment["detail"]
    log = (device.folder / "agent.log").read_text()
    assert "a desired state was refused: not signed by a key that the device trusts reason=untrusted" in log
    assert "Traceback" not in log


def keys_of(trust, other):
    """The director's key in a trust.json, and that of another home in its place."""

    skerry(
        other,
        "device",
        "provision",
        "other-01",
        "--board",
        "generic-x86",
        "--config-only",
        "--out",
        str(other.root / "device"),
    )
    foreign = json.loads((other.root / "device" / "trust.json").read_text())
    return json.loads(trust)["director"][0], foreign["director"][0]


def test_a_whole_deployment_can_be_read_in_the_log(home, running):
    assert outcomes(await_end(home, start_rollout(home, SECOND, running.id))) == {("succeeded", "")}
    assert running.stop() == 0
    log = (running.folder / "agent.log").read_text().splitlines()
    said = [line for line in log if f"release={SECOND} deployment=" in line]
    assert all(line.startswith("20") for line in log)
    steps = ["idle->fetching", "fetching->verifying", "verifying->staged", "staged->probation", "probation->committed"]
    assert [step for step in steps if any(f"state={step}" in line for line in said)] == steps
    assert any("outcome=succeeded" in line and "generation=" in line for line in said)
    for sentence in ("the agent starts version=", "connected to the broker broker=mqtt://", "the agent ends"):
        assert any(sentence in line for line in log), sentence
