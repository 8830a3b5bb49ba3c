"""Each device is sent, and promised, patches of the format that it reports to know."""

import hashlib

import pytest
from msgspec import structs

from skerry_agent.wire import codec
from skerry_agent.wire.envelope import RELEASE
from skerry_agent.wire.manifest import PatchRef
from skerry_agent.wire.routes import EMPTY_SHA256
from skerry_agent.wire.twin import ModelReport, Reported, SlotReport
from skerry_host.fleet.device import Device
from skerry_host.fleet.policy import Policy
from skerry_host.home import Home
from skerry_host.plane.delivery.required_blobs import RequiredBlobsReader
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, twins
from skerry_host.plane.rollouts.forecast import forecast
from skerry_host.plane.rollouts.intake import RolloutRequest, fitting_targets, start_rollout
from skerry_host.release import keys
from skerry_host.release.store import Store
from tests.kit.home import add_release, make_home, model_bytes

OLD, NEW = model_bytes("old", 4000), model_bytes("new", 4000)
FIRST, SECOND = b"of version 1" * 9, b"of version 2"
SAYS = {"dev-old": {}, "dev-new": {"patch_format": 2}, "dev-silent": None}


@pytest.fixture
def rig(tmp_path):
    home = make_home(tmp_path / "home")
    held = add_release(home, "1.0.0", OLD)
    release = add_release(home, "1.1.0", NEW, base=OLD, patch=FIRST, newer_patch=SECOND)
    slot = SlotReport("fashion@1.0.0", "cpu", "0" * 64, held.bundles[0].model.blob.sha256)
    models = {"fashion": ModelReport("idle", serving=True, current=slot)}
    with open_registry(home.registry) as registry:
        with registry.write() as session:
            for name, says in SAYS.items():
                devices.add(session, Device(name, "generic-x86", targets=("cpu",)), 1.0)
                if says is not None:
                    reported = Reported(name, "boot", 1, 0, "0.1.0", "generic-x86", ("cpu",), models)
                    reported = structs.replace(reported, **says)
                    twins.accept_reported(session, reported, codec.encode(reported), 1.0)
        yield registry, Store(home.store), release


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_only_patches_that_a_device_applies_are_published_for_it(rig):
    registry, store, release = rig
    for name, expected in (("dev-old", {sha256(FIRST)}), ("dev-new", {sha256(SECOND)}), ("dev-silent", set())):
        with registry.write() as session:
            chosen = [device for device in devices.all_devices(session) if device.id == name]
            start_rollout(session, RolloutRequest(release, chosen, "some", Policy()), 2.0)
            required = RequiredBlobsReader(store, lambda: 2.0).read(session).blobs
            session.rollback()
        assert set(required) & {sha256(FIRST), sha256(SECOND)} == expected


def test_a_forecast_knows_what_each_device_applies(rig):
    registry, store, release = rig
    with registry.read() as session:
        able = fitting_targets(session, release, devices.all_devices(session)).done.values()
        rows = {row.device: row for row in forecast(session, store, release, able)}
    golden = rows["dev-silent"].full_bytes - len(NEW)
    assert {name: (row.path, row.bytes_expected - golden) for name, row in rows.items()} == {
        "dev-old": ("patch", len(FIRST)),
        "dev-new": ("patch", len(SECOND)),
        "dev-silent": ("full", len(NEW)),
    }


def test_a_file_packed_for_those_that_hold_nothing_is_published_and_promised(rig, tmp_path):
    registry, store, release = rig
    golden = release.bundles[0].artifact("golden")
    ref = PatchRef(EMPTY_SHA256, golden.blob.sha256, "full", store.put(b"p"), 2)
    newer = structs.replace(release, version="1.2.0", counter=120, newer_patches=(ref,))
    signer = keys.load(Home(tmp_path / "home").keys, "release")
    store.add(newer, signer.sign(RELEASE, codec.encode(newer)))
    with registry.write() as session:
        every = devices.all_devices(session)
        able = fitting_targets(session, newer, every).done.values()
        rows = {row.device: row.bytes_expected for row in forecast(session, store, newer, able)}
        start_rollout(session, RolloutRequest(newer, every, "some", Policy()), 2.0)
        required = RequiredBlobsReader(store, lambda: 2.0).read(session).blobs
        session.rollback()
    assert ref.blob.sha256 in required
    assert rows["dev-new"] == len(FIRST) + 1
    assert rows["dev-old"] == len(FIRST) + golden.blob.size
