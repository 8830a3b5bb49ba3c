"""The plane as a user runs it: real processes, a real broker, simulated devices, kill -9 and broker restarts."""

import json
import os
import signal
import time
from pathlib import Path

import msgspec
import pytest

from skerry_agent.wire import topics
from skerry_agent.wire.report_forms import READ
from skerry_agent.wire.telemetry import Receipt, Stored
from skerry_host.plane.broker.broker import Embedded, Mosquitto, free_port
from skerry_host.plane.broker.link import Link
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices as records
from skerry_host.plane.registry.records import orders, rollouts
from skerry_host.plane.views.gather import device_views, rollout_view
from tests.kit.commands import serving, skerry, skerry_process
from tests.kit.device import BrokerPort, FakeDevice, Faults
from tests.kit.home import add_release, make_home, model_bytes
from tests.kit.programs import require_program
from tests.kit.waiting import eventually

pytestmark = pytest.mark.system
OLD, NEW, BAD = (model_bytes(seed, 1_500_000) for seed in ("old", "new", "bad"))
PATCH = model_bytes("patch", 90_000)


@pytest.fixture
def home(tmp_path):
    made = make_home(tmp_path / "home")
    add_release(made, "1.0.0", OLD)
    add_release(made, "1.1.0", NEW, base=OLD, patch=PATCH)
    add_release(made, "1.2.0", BAD, base=NEW, patch=PATCH[:70_000])
    return made


@pytest.fixture
def devices(home):
    """Makes enrolled, connected devices; all are gone at the end."""
    made = []

    def make(name, url, **faults):
        if not (home.devices / name).exists():
            skerry(home, "device", "provision", name, "--board", "generic-x86", "--tag", "lab", "--broker", url)
        device = FakeDevice(name, BrokerPort(url), Faults(**faults))
        device.connect()
        made.append(device)
        return device

    yield make
    for device in made:
        device.crash()


BAD_IS_BAD = {"fashion@1.2.0": ("rolled_back", "latency_over_budget")}


def start(home, version, *names):
    chosen = [part for name in names for part in ("--device", name)]
    return json.loads(skerry(home, "rollout", "start", f"fashion@{version}", *chosen, "--json").stdout)["rollout"]


def status(home, rollout):
    with open_registry(home.registry) as registry, registry.read() as session:
        return msgspec.to_builtins(rollout_view(session, rollouts.find(session, rollout)))


def await_end(home, rollout):
    eventually(lambda: status(home, rollout)["ended"], f"the end of {rollout}", 40.0)
    return status(home, rollout)


def test_full_then_patch_then_bad_release_then_ordered_rollback(home, devices):
    require_program("mosquitto", "mosquitto")
    with serving(home, "--port", "0", "--http-port", "0") as plane:
        shelf = [devices(f"shelf-0{i}", plane.broker, ends=BAD_IS_BAD) for i in range(3)]
        names = [device.id for device in shelf]
        skerry(home, "group", "create", "lab", "--where", "tag:lab and board=generic-x86")

        first = json.loads(
            skerry(home, "rollout", "start", "fashion@1.0.0", "--group", "lab", "--wait", "--json").stdout
        )
        assert {d["device"]: (d["outcome"], d["transfer"]) for d in first["deployments"]} == dict.fromkeys(
            names, ("succeeded", "full")
        )
        planned = json.loads(skerry(home, "rollout", "plan", "fashion@1.1.0", "--group", "lab", "--json").stdout)
        assert {(row["holds"], row["path"]) for row in planned} == {("fashion@1.0.0", "patch")}
        second = await_end(home, start(home, "1.1.0", *names))
        assert {(d["outcome"], d["transfer"], d["bytes_received"] < 100_000) for d in second["deployments"]} == {
            ("succeeded", "patch", True)
        }
        third = await_end(home, start(home, "1.2.0", *names))
        assert third["state"] == "failed"
        assert {(d["outcome"], d["reason"]) for d in third["deployments"]} == {("rolled_back", "latency_over_budget")}
        assert [device.current for device in shelf] == ["fashion@1.1.0"] * 3

        skerry(home, "rollback", "--device", names[0])
        eventually(lambda: shelf[0].current == "fashion@1.0.0", "the ordered rollback")
        eventually(lambda: _twin(home, names[0])["models"][0]["wanted"] == "fashion@1.0.0", "desired follows reported")
        generation = _twin(home, names[0])["generation"]
        eventually(lambda: shelf[0].kept.generation == generation, "the device accepts what it already runs")
        refused = skerry(home, "rollback", "--device", names[0], check=False)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert plane.stop() == 0


def _twin(home, name):
    with open_registry(home.registry) as registry, registry.read() as session:
        return msgspec.to_builtins(device_views(session, [records.find(session, name)])[0])


def test_plane_killed_in_the_middle_of_a_rollout_resumes(home, devices):
    require_program("mosquitto", "mosquitto")
    port = str(free_port())
    with serving(home, "--port", port, "--no-http") as plane:
        slow = devices("slow-01", plane.broker, chunk_s=0.05)
        rollout = start(home, "1.0.0", "slow-01")
        eventually(lambda: slow.chunks_received > 5, "the transfer to be under way")
        os.kill(plane.pid, signal.SIGKILL)
        plane.kill()
        plane.start()
        assert await_end(home, rollout)["state"] == "succeeded"
        assert slow.chunks_received <= 24 + 2 + 1 + 16  # chunks, manifest and golden, digests, two windows of waste


def test_orders_given_while_nothing_serves_are_carried_out_later(home, devices):
    require_program("mosquitto", "mosquitto")
    port = str(free_port())
    skerry(home, "device", "provision", "early-01", "--board", "generic-x86", "--broker", f"mqtt://127.0.0.1:{port}")
    rollout = start(home, "1.0.0", "early-01")
    assert status(home, rollout)["state"] == "pending"
    with serving(home, "--port", port, "--no-http") as plane:
        time.sleep(0.5)
        devices("early-01", plane.broker)
        assert await_end(home, rollout)["state"] == "succeeded"


@pytest.mark.parametrize("kind", ["mosquitto", "embedded"])
def test_broker_that_forgets_everything_is_restarted_mid_rollout(home, devices, tmp_path, kind):
    """The retained messages are gone with it: the plane says all of it again, and devices go on where they were."""
    program = require_program("mosquitto", "mosquitto") if kind == "mosquitto" else ""
    port = free_port()

    def broker(generation):
        return Mosquitto(tmp_path / str(generation), port, program) if program else Embedded(port)

    with broker(1) as first, serving(home, "--broker", first.url, "--no-http"):
        slow = devices("slow-01", first.url, chunk_s=0.05)
        rollout = start(home, "1.0.0", "slow-01")
        eventually(lambda: slow.chunks_received > 5, "the transfer to be under way")
        os.kill(first.pid, signal.SIGKILL)
        with broker(2):
            assert await_end(home, rollout)["state"] == "succeeded"
            assert slow.current == "fashion@1.0.0"
            eventually(lambda: _twin(home, "slow-01")["online"], "it is seen online again")
            slow.telemetry()
            eventually(lambda: _twin(home, "slow-01")["models"][0]["points"], "telemetry arrives again")


def test_plane_restarts_its_own_broker(home, devices):
    require_program("mosquitto", "mosquitto")
    with serving(home, "--port", "0", "--no-http") as plane:
        device = devices("shelf-01", plane.broker)
        assert await_end(home, start(home, "1.0.0", "shelf-01"))["state"] == "succeeded"
        os.kill(_child_of(plane.pid), signal.SIGKILL)
        assert await_end(home, start(home, "1.1.0", "shelf-01"))["state"] == "succeeded"
        assert device.current == "fashion@1.1.0"


def test_a_device_that_repeats_itself_applies_no_patch_and_answers_no_command(home, devices):
    """It gets whole files and keeps what it runs; what it says twice is taken once."""
    require_program("mosquitto", "mosquitto")
    with serving(home, "--port", "0", "--no-http") as plane:
        odd = devices("odd-01", plane.broker, repeats=2, no_patches=True, ignores_commands=True)
        for version in ("1.0.0", "1.1.0"):
            ended = await_end(home, start(home, version, "odd-01"))["deployments"][0]
            assert (ended["outcome"], ended["transfer"]) == ("succeeded", "full")
        odd.telemetry()
        eventually(lambda: odd.receipts, "the receipt")
        assert odd.receipts[-1] == Receipt((Stored(odd.boot, ((0, 0),)),), reads=READ)
        skerry(home, "rollback", "--device", "odd-01")
        eventually(lambda: _orders(home) == ["sent"], "the command goes out")
        time.sleep(0.5)
        assert (_orders(home), odd.current) == (["sent"], "fashion@1.1.0")
        assert len(_twin(home, "odd-01")["models"][0]["points"]) == 1


def _orders(home):
    with open_registry(home.registry) as registry, registry.read() as session:
        return [order.state for order in orders.open_orders(session)]


def _child_of(pid):
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_abort_and_silence_leave_devices_with_what_they_had(home, devices):
    require_program("mosquitto", "mosquitto")
    with serving(home, "--port", "0", "--no-http") as plane:
        device = devices("shelf-01", plane.broker)
        assert await_end(home, start(home, "1.0.0", "shelf-01"))["state"] == "succeeded"
        device.crash()
        eventually(lambda: not _twin(home, "shelf-01")["online"], "the will was spoken")

        aborted = start(home, "1.1.0", "shelf-01")
        eventually(lambda: status(home, aborted)["state"] == "running", "it was admitted")
        skerry(home, "rollout", "abort", aborted)
        assert await_end(home, aborted)["deployments"][0]["outcome"] == "cancelled"

        silent = skerry(home, "rollout", "start", "fashion@1.2.0", "--device", "shelf-01", "--silence", "1", "--json")
        ended = await_end(home, json.loads(silent.stdout)["rollout"])
        assert ended["deployments"][0]["outcome"] == "timed_out"
        assert ended["state"] == "failed"

        device.connect()
        eventually(lambda: device.kept.generation == _twin(home, "shelf-01")["generation"], "it heard the newest")
        assert device.current == "fashion@1.0.0"
        assert _twin(home, "shelf-01")["models"][0]["wanted"] == "fashion@1.0.0"


def test_blobs_are_cleared_when_nobody_needs_them(home, devices):
    require_program("mosquitto", "mosquitto")
    with serving(home, "--port", "0", "--no-http") as plane:
        device = devices("shelf-01", plane.broker)
        assert await_end(home, start(home, "1.0.0", "shelf-01"))["state"] == "succeeded"
        manifest = device.kept.desired.assignments[0].manifest.sha256
        eventually(lambda: not _is_retained(plane.broker, topics.chunk(manifest, 0)), "the manifest was cleared")
        assert _is_retained(plane.broker, topics.desired("shelf-01"))


def _is_retained(url, topic):
    link = Link(url, "probe", (), lambda _: None)
    link.start()
    try:
        return bool(link.retained([topic], 1.0))
    finally:
        link.stop()


def test_a_second_plane_on_the_same_home_is_refused(home):
    require_program("mosquitto", "mosquitto")
    with serving(home, "--port", "0", "--no-http") as plane:
        second = skerry_process(home, "serve", "--port", "0")
        assert second.returncode == 1
        assert f"process {plane.pid} already serves" in second.stderr
        assert second.stderr.count("\n") == 1


def test_a_broker_that_is_not_there_is_one_line(home):
    refused = skerry_process(home, "serve", "--broker", f"mqtt://127.0.0.1:{free_port()}", "--no-http")
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("error: no broker answers at 127.0.0.1:")
    unusable = skerry_process(home, "serve", "--broker", "http://x", "--no-http")
    assert unusable.stderr == (
        "error: broker address 'http://x' refused: its scheme is neither mqtt nor mqtts; "
        "write mqtt://HOST:1883 or mqtts://HOST:8883\n"
    )
