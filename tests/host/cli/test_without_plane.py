"""While nothing serves, every command says so at once, and nothing of the past is shown as the present."""

import json
import signal
import subprocess
import time

import pytest

from skerry_host.fleet.device import Device
from skerry_host.plane.errors import PlaneError
from skerry_host.plane.heartbeat import HeartbeatWriter, require_no_other
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, heartbeats, twins
from skerry_host.plane.registry.records.heartbeats import Heartbeat
from skerry_host.plane.registry.tables import TwinRow
from skerry_host.plane.views import plane_state
from tests.kit.commands import Done, serving, skerry, skerry_running
from tests.kit.device import BrokerPort, FakeDevice
from tests.kit.home import add_release, make_home, model_bytes
from tests.kit.programs import require_program
from tests.kit.waiting import eventually

NOT_RUNNING = "warning: the plane is not running since "


@pytest.fixture
def home(tmp_path):
    made = make_home(tmp_path / "home")
    add_release(made, "1.0.0", model_bytes("m", 2000))
    return made


def state(home) -> str:
    with open_registry(home.registry) as registry, registry.read() as session:
        return plane_state.seen(session, time.time()).state


@pytest.mark.system
def test_a_plane_that_was_killed_is_told_from_one_that_runs(home):
    require_program("mosquitto", "mosquitto")
    with serving(home, "--port", "0", "--no-http") as plane:
        skerry(home, "device", "provision", "dev-1", "--board", "generic-x86", "--broker", plane.broker)
        with FakeDevice("dev-1", BrokerPort(plane.broker)):
            eventually(lambda: "online" in skerry(home, "device", "list").stdout, "it is online")
            quiet = skerry(home, "device", "list")
            _second_is_refused(home, plane.pid)
            plane.kill()
            _says_so_everywhere(home, quiet)
            plane.start()
            eventually(lambda: state(home) == "running", "the next plane's heartbeat")
            assert skerry(home, "device", "list").stderr == ""
            assert plane.stop() == 0
            assert state(home) == "stopped"


@pytest.mark.system
def test_a_device_that_went_while_no_broker_ran_is_not_online_for_ever(home):
    """Power fails at the host: its broker publishes no last will, and the device is not there to say anything."""
    require_program("mosquitto", "mosquitto")
    with serving(home, "--port", "0", "--no-http") as plane:
        skerry(home, "device", "provision", "dev-1", "--board", "generic-x86", "--broker", plane.broker)
        with FakeDevice("dev-1", BrokerPort(plane.broker)):
            eventually(lambda: "online" in skerry(home, "device", "list").stdout, "it is online")
            assert plane.stop() == 0
        (home.broker / "mosquitto.db").unlink()  # it may have written the will there as it ended in peace
        with open_registry(home.registry) as registry, registry.write() as session:
            session.get_one(TwinRow, "dev-1").online = True  # as a plane that is killed with its broker leaves it
        plane.start()
        eventually(lambda: state(home) == "running", "the next plane's heartbeat")
        (device,) = json.loads(skerry(home, "device", "list", "--json").stdout)
        assert device["online"] is False
        with FakeDevice("dev-1", BrokerPort(plane.broker)):
            eventually(lambda: "online" in skerry(home, "device", "list").stdout, "it is online again")


def _says_so_everywhere(home, quiet: Done):
    assert quiet.stderr == ""
    for command in (
        ("device", "list"), ("device", "show", "dev-1"), ("rollout", "status"), ("event", "list"),
        ("rollout", "start", "fashion@1.0.0", "--device", "dev-1"),
    ):  # fmt: skip
        done = skerry(home, *command)
        assert done.stderr.startswith(NOT_RUNNING), command
        assert done.stderr.count("\n") == 1
    assert "unknown (last online" in skerry(home, "device", "list").stdout
    assert "online (" not in skerry(home, "device", "list").stdout.replace("last online (", "")
    assert "the plane is not running since" in skerry(home, "monitor", "--once").stdout
    (device,) = json.loads(skerry(home, "device", "list", "--json").stdout)
    assert device["online"] is None
    fleet = json.loads(skerry(home, "monitor", "--json").stdout)
    assert [fleet["totals"][each] for each in ("online", "inferences_per_s", "p95_us", "power_w")] == [None] * 4
    assert (fleet["plane"]["state"], fleet["totals"]["online"]) == ("lost", None)
    assert json.loads(skerry(home, "device", "show", "dev-1", "--json").stdout)["plane"]["state"] == "lost"
    checked = skerry(home, "doctor", "--json", check=False)
    assert checked.returncode == 1
    assert {each["name"]: each["ok"] for each in json.loads(checked.stdout)}["plane"] is False


def test_who_waits_is_told_at_once_that_nobody_carries_it_out_and_goes_on_waiting(home):
    skerry(home, "device", "provision", "dev-1", "--board", "generic-x86", "--broker", "mqtt://127.0.0.1:1")
    command = "rollout", "start", "fashion@1.0.0", "--device", "dev-1", "--wait"
    with skerry_running(home, *command) as waiting:
        assert "the plane has never run here" in waiting.stderr.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.5)
        with open_registry(home.registry) as registry, HeartbeatWriter(registry, time.time):
            assert waiting.stderr.readline() == "note: the plane runs again\n"
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(20) == 1


def test_a_fresh_home_is_well_though_no_plane_has_run(home):
    checks = {each["name"]: each for each in json.loads(skerry(home, "doctor", "--json", check=False).stdout)}
    assert (checks["plane"]["ok"], checks["plane"]["needed"]) == (False, False)


def test_a_home_that_an_older_plane_has_served_is_not_said_to_have_had_none(home):
    """It wrote no heartbeat, but what it heard."""
    with open_registry(home.registry) as registry:
        with registry.write() as session:
            devices.add(session, Device("dev-1", "generic-x86", frozenset(), ("cpu",)), 1.0)
            twins.seen(session, ["dev-1"], time.time() - 7200)
        with registry.read() as session:
            view = plane_state.seen(session, time.time())
    assert view.state == "lost"
    assert "the plane is not running since" in view.line(time.time())
    assert "(2 h ago)" in view.line(time.time())


def test_a_heartbeat_is_renewed_and_ends_with_the_plane(home):
    with open_registry(home.registry) as registry:
        with HeartbeatWriter(registry, time.time, beat_s=0.02):
            with registry.read() as session:
                first = heartbeats.find(session)
            eventually(lambda: _beat(registry).at > first.at, "the next heartbeat")
            assert state(home) == "running"
        assert (state(home), _beat(registry).instance) == ("stopped", first.instance)


def _beat(registry) -> Heartbeat:
    with registry.read() as session:
        return heartbeats.find(session)


def test_a_heartbeat_comes_while_the_loop_is_busy_and_says_so(home):
    with open_registry(home.registry) as registry:
        now = [1000.0]
        with HeartbeatWriter(registry, lambda: now[0], beat_s=0.02):
            now[0] += 100.0
            eventually(lambda: _beat(registry).at == 1100.0, "a heartbeat")
            assert plane_state.judge(_beat(registry), now[0], lambda _: True).state == "hanging"


@pytest.mark.parametrize("lives", [True, False], ids=["alive", "dead"])
def test_of_two_planes_on_one_registry_the_second_is_refused_unless_the_first_is_dead(home, lives):
    with open_registry(home.registry) as registry:
        other = Heartbeat(1000.0, 1000.0, 900.0, None, "other", 7, "elsewhere", "another machine", "1")
        with registry.write() as session:
            heartbeats.store(session, other)
        now = [1001.0]

        def pass_by(seconds):
            now[0] += seconds
            if lives and now[0] > 1003.0:
                with registry.write() as session:
                    heartbeats.renew(session, "other", now[0], now[0])

        if lives:
            with pytest.raises(PlaneError, match="process 7 on elsewhere already serves this registry"):
                require_no_other(registry, lambda: now[0], pass_by)
        else:
            require_no_other(registry, lambda: now[0], pass_by)
            assert now[0] <= 1000.0 + plane_state.DEAD_S + 1.0, "it waited no longer than it had to"


def _second_is_refused(home, pid: int):
    with skerry_running(home, "serve", "--port", "0", "--no-http") as second:
        _, errors = second.communicate(timeout=30)
    assert second.returncode == 1
    assert f"process {pid} already serves {home.root}; stop that one first" in errors


def test_heartbeats_cost_little(home):
    """One a few seconds: even a hundred of them are done in a moment."""
    with open_registry(home.registry) as registry:
        with registry.write() as session:
            heartbeats.store(session, Heartbeat(1.0, 1.0, 1.0, None, "i", 1, "h", "b", "1"))
        began = time.process_time()
        for number in range(100):
            with registry.write() as session:
                assert heartbeats.renew(session, "i", float(number), 1.0)
        assert time.process_time() - began < 2.0
