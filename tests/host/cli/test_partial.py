"""An order for several devices is carried out for all that can, the rest is listed, and the exit status says so."""

import json

import pytest
from starlette.testclient import TestClient

from skerry_agent.wire.admission import DeviceFacts, Needs
from skerry_agent.wire.twin import ModelReport, SlotReport
from skerry_host.fleet.device import Device
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.ingest.ingest import Ingest
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, orders, rollouts
from skerry_host.plane.registry.tables import DeploymentRow
from skerry_host.plane.views.counters import Counters
from skerry_host.plane.web.app import application
from skerry_host.release.store import Store
from tests.kit.commands import skerry
from tests.kit.device import DirectPort, FakeDevice
from tests.kit.home import add_release, make_home, model_bytes

TARGETS = {"old-01": ("cpu",), "old-02": ("cpu",), "new-01": ("cpu",), "unseen-01": ("cpu",), "other-01": ("onnx",)}
"""Two that can go back, one that has been seen and runs its first release, one that was never seen, one without cpu."""


class Lab:
    """A home with a group of everything."""

    def __init__(self, folder):
        self.home = make_home(folder / "home")
        for version in ("1.0.0", "1.1.0"):
            add_release(self.home, version, model_bytes(version, 1000))
        store = Store(self.home.store)
        first, second = (
            SlotReport(f"fashion@{v}", "cpu", store.manifest_ref(f"fashion@{v}").sha256, "0" * 64)
            for v in ("1.0.0", "1.1.0")
        )
        self.devices = {}
        with open_registry(self.home.registry) as registry:
            with registry.write() as session:
                for name, targets in TARGETS.items():
                    devices.add(session, Device(name, "generic-x86", frozenset(), targets), 1.0)
                devices.add_group(session, "lab", "all", 1.0)
                devices.add_group(session, "fresh", "id=new-* or id=unseen-*", 1.0)
                devices.add_group(session, "nobody", "tag:none", 1.0)
            ingest = Ingest(registry, lambda: 2.0)
            for name, model in {
                "old-01": ModelReport("idle", serving=True, current=second, previous=first),
                "old-02": ModelReport("idle", serving=True, current=second, previous=first),
                "new-01": ModelReport("idle", serving=True, current=second),
            }.items():
                device = FakeDevice(name, DirectPort(lambda topic, raw: ingest.apply([Incoming(topic, raw)])))
                device.kept.models["fashion"] = model
                device.connect()
                self.devices[name] = device

    def say_facts(self, name, facts):
        device = self.devices[name]
        device.kept.facts = facts
        device.say()

    def run(self, *arguments):
        return skerry(self.home, *arguments, check=False)

    def said(self, *arguments):
        done = self.run(*arguments, "--json")
        return done.returncode, json.loads(done.stdout)

    def ordered(self):
        with open_registry(self.home.registry) as registry, registry.read() as session:
            return sorted(order.device for order in orders.open_orders(session))


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def test_before_a_rollout_it_is_said_who_is_left_out_and_who_is_not_known_to_fit(lab):
    """Those that have said nothing of themselves are of older agents: ordered, and counted."""
    add_release(lab.home, "2.0.0", b"model", needs=Needs(target="cpu", glibc="2.34"))
    lab.say_facts("old-01", DeviceFacts(glibc="2.36"))
    lab.say_facts("old-02", DeviceFacts(glibc="2.28"))
    planned = lab.run("rollout", "plan", "fashion@2.0.0", "--group", "lab")
    assert planned.returncode == 3
    for line in ("2 of 5 devices left out: ", "2 of 5 devices ordered, though not known to fit: 2 unknown (glibc)"):
        assert line in planned.stderr.replace("\n", " ")
    status, said = lab.said("rollout", "plan", "fashion@2.0.0", "--group", "lab")
    assert {row["device"]: row.get("unknown", row.get("code")) for row in said} == {
        "old-01": [],
        "new-01": ["glibc"],
        "unseen-01": ["glibc"],
        "old-02": "glibc_too_old",
        "other-01": "no_target",
    }
    status, said = lab.said("rollout", "start", "fashion@2.0.0", "--group", "lab")
    assert status == 3
    counts = {each["code"]: each["count"] for each in said["admission"]["left_out"]}
    assert counts == {"glibc_too_old": 1, "no_target": 1}
    assert [each["count"] for each in said["admission"]["unknown"]] == [2]
    with open_registry(lab.home.registry) as registry:
        pages = TestClient(application(registry, lambda: Counters({}, 0, 0, False)), "http://127.0.0.1")
        page = pages.get(f"/rollouts/{said['rollout']}").text
    assert "2 of 5 devices left out: 1 C library too old" in page


def test_a_rollback_of_a_group_is_ordered_for_all_that_can_go_back(lab):
    done = lab.run("rollback", "--group", "lab")
    assert done.returncode == 3
    assert "rollback ordered for 2 of 5 devices (group lab)" in done.stdout
    assert "not ordered for new-01: device new-01 has no release to go back to" in done.stdout
    assert (
        "not ordered for unseen-01: device unseen-01 has no release to go back to: it has never reported" in done.stdout
    )
    assert lab.ordered() == ["old-01", "old-02"]


def test_a_program_is_given_both_lists(lab):
    code, data = lab.said("rollback", "--group", "lab")
    assert (code, [each["device"] for each in data["orders"]]) == (3, ["old-01", "old-02"])
    reasons = {each["device"]: each["code"] for each in data["refused"]}
    assert reasons == {"new-01": "no_previous", "unseen-01": "never_seen", "other-01": "never_seen"}


def test_a_name_that_is_mistyped_stops_no_rollback_of_the_others(lab):
    done = lab.run("rollback", "--device", "old-01", "--device", "odl-02")
    assert done.returncode == 3
    assert "not ordered for odl-02: there is no device 'odl-02'" in done.stdout
    assert lab.ordered() == ["old-01"]


def test_where_none_can_it_is_an_error_with_the_reason_of_each(lab):
    done = lab.run("rollback", "--group", "fresh", "--json")
    assert (done.returncode, lab.ordered()) == (2, [])
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "none_can"
    assert [each["device"] for each in error["refused"]] == ["new-01", "unseen-01"]
    assert done.stderr.count("\n") == 1


def test_where_none_can_go_back_a_rollout_that_may_still_change_them_is_named(lab):
    _, started = lab.said("rollout", "start", "fashion@1.0.0", "--group", "lab")
    for chosen in (("--group", "fresh"), ("--device", "new-01")):
        done = lab.run("rollback", *chosen)
        assert done.returncode == 2
        assert f"`skerry rollout abort {started['rollout']}` ends it" in done.stderr
    assert "skerry rollout abort" not in lab.run("rollback", "--device", "nobody").stderr


def test_where_all_can_the_status_is_0(lab):
    done = lab.run("rollback", "--device", "old-01", "--device", "old-02")
    assert (done.returncode, done.stdout) == (0, "rollback ordered for 2 devices (device old-01, old-02)\n")


def test_a_group_that_has_become_empty_is_no_success(lab):
    for command in (("rollback",), ("rollout", "plan", "fashion@1.1.0"), ("rollout", "start", "fashion@1.1.0")):
        done = lab.run(*command, "--group", "nobody")
        assert (done.returncode, "group nobody selects no devices" in done.stderr) == (2, True), command


def test_a_rollout_is_for_all_devices_that_can_run_the_release(lab):
    code, data = lab.said("rollout", "start", "fashion@1.1.0", "--group", "lab")
    assert (code, data["devices"]) == (3, ["new-01", "old-01", "old-02", "unseen-01"])
    assert [(each["device"], each["code"]) for each in data["refused"]] == [("other-01", "no_target")]
    with open_registry(lab.home.registry) as registry, registry.read() as session:
        assert {row.device for row in rollouts.deployments(session, data["rollout"])} == set(data["devices"])


def test_so_is_a_plan(lab):
    done = lab.run("rollout", "plan", "fashion@1.1.0", "--group", "lab")
    assert done.returncode == 3
    assert "4 devices" in done.stdout
    assert "left out other-01: device other-01 (board generic-x86) runs onnx" in done.stderr


def test_a_rollback_cancels_what_a_rollout_has_yet_to_send(lab):
    _, started = lab.said("rollout", "start", "fashion@1.0.0", "--group", "lab")
    done = lab.run("rollback", "--group", "lab")
    assert f"rollout {started['rollout']} may still change these" in done.stdout
    with open_registry(lab.home.registry) as registry, registry.read() as session:
        waiting = {row.device: row.outcome for row in rollouts.deployments(session, started["rollout"])}
        assert session.get(DeploymentRow, f"{started['rollout'][-8:]}-old-01").reason == "a rollback was ordered"
    assert waiting == {"old-01": "cancelled", "old-02": "cancelled", "new-01": None, "unseen-01": None}


def test_help_says_what_the_status_means(lab):
    for command in (("rollback",), ("rollout", "start"), ("rollout", "plan")):
        assert "3 if it is some" in " ".join(lab.run(*command, "--help").stdout.split())
