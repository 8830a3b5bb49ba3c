"""Who cannot run a release is known before it is ordered, counted by reason, and never ordered; who said nothing is."""

import msgspec
import pytest
from msgspec.structs import replace

from skerry_agent.wire import codec, envelope, topics
from skerry_agent.wire.admission import Accelerator, DeviceFacts, Needs
from skerry_agent.wire.manifest import Release
from skerry_agent.wire.twin import SlotReport
from skerry_host.fleet.device import Device
from skerry_host.fleet.errors import FleetError
from skerry_host.fleet.policy import Policy
from skerry_host.plane.registry.records import devices, rollouts
from skerry_host.plane.rollouts.forecast import forecast
from skerry_host.plane.rollouts.intake import RolloutRequest, admission, fitting_targets, start_rollout
from skerry_host.plane.views.admission import admission_lines
from skerry_host.plane.views.gather import rollout_view
from skerry_host.release import keys
from skerry_host.release.create import by_age
from skerry_host.release.export import export
from skerry_host.release.fitting import fit
from skerry_host.release.store import Store
from tests.kit.device import FakeDevice
from tests.kit.home import add_release
from tests.kit.rollouts import Rig

NEEDS = Needs(target="cpu", glibc="2.34", runtimes={"ai-edge-litert": "2.0"}, disk_bytes=1_000_000)
NEW = DeviceFacts(glibc="2.36", runtimes={"ai-edge-litert": "2.3.0"}, disk_free_bytes=10**9, agent="0.5.0")
FACTS = {
    "new-1": NEW,
    "new-2": NEW,
    "mendel-1": replace(NEW, glibc="2.28"),
    "mendel-2": replace(NEW, glibc="2.28"),
    "full-1": replace(NEW, disk_free_bytes=5),
    "older-1": None,
}


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path / "home")
    yield made
    made.registry.close()


def fleet(rig, facts):
    with rig.registry.write() as session:
        for name in facts:
            devices.add(session, Device(name, "generic-x86", targets=("cpu",)), 1.0)
    for name, known in facts.items():
        device = FakeDevice(name, rig.device._port)
        device.kept.facts = known
        device.say()


def able(rig, release, *names):
    with rig.registry.read() as session:
        return fitting_targets(session, release, [devices.find(session, name) for name in names])


def test_who_lacks_something_is_left_out_counted_by_reason_and_the_unknown_are_ordered(rig):
    fleet(rig, FACTS)
    found = able(rig, add_release(rig.home, "3.0.0", b"model", needs=NEEDS), *FACTS)
    known = admission(found)
    assert set(found.done) == {"new-1", "new-2", "older-1"}
    assert (known.devices, known.of) == (3, 6)
    assert [(each.code, each.count, each.devices) for each in known.left_out] == [
        ("glibc_too_old", 2, ("mendel-1", "mendel-2")),
        ("not_enough_disk", 1, ("full-1",)),
    ]
    assert [(each.count, each.devices) for each in known.unknown] == [(1, ("older-1",))]
    glibc = "fashion@3.0.0: it needs glibc 2.34 or newer, the device has 2.28"
    disk = "fashion@3.0.0: it needs 1 MB of free disk, the device has 0 kB"
    assert admission_lines(known) == [
        f"3 of 6 devices left out: 2 C library too old ({glibc}); 1 not enough disk ({disk})",
        "1 of 6 devices ordered, though not known to fit: 1 unknown (glibc, runtime, disk)",
    ]


def test_where_nobody_can_run_it_nothing_is_started(rig):
    fleet(rig, FACTS)
    release = add_release(rig.home, "3.0.0", b"model", needs=NEEDS)
    with pytest.raises(FleetError, match="for none of 2 devices") as refused:
        able(rig, release, "mendel-1", "mendel-2")
    assert "glibc 2.34" in str(refused.value)


def test_the_rollout_keeps_who_was_left_out(rig):
    fleet(rig, FACTS)
    release = add_release(rig.home, "3.0.0", b"model", needs=NEEDS)
    found = able(rig, release, *FACTS)
    with rig.registry.write() as session:
        those = [device for device, _ in found.done.values()]
        request = RolloutRequest(release, those, "all", Policy(), {}, admission(found))
        started = start_rollout(session, request, rig.now)
    with rig.registry.read() as session:
        view = rollout_view(session, rollouts.find(session, started))
    assert view.admission == admission(found)


def test_what_changed_since_the_start_is_held_against_it_as_it_is_sent(rig):
    """A board whose system was set up anew between the start of the rollout and its wave."""
    release = add_release(rig.home, "3.0.0", b"model", needs=NEEDS)
    rig.device.kept.facts = replace(NEW, glibc="2.28")
    rig.device.say()
    started = rig.start(release.version)
    _, row = rig.row(started)
    assert (row.outcome, row.reason) == ("failed", "glibc_too_old")
    assert "it needs glibc 2.34 or newer, the device has 2.28" in row.detail
    assert rig.wanted is None


def _of(release: Release, *targets: str) -> Release:
    (bundle,) = release.bundles
    more = {"edgetpu": {"edgetpu_runtime": 14, "runtimes": {"tflite-runtime": "2.5", "ai-edge-litert": "1.0"}}}
    made = [
        replace(bundle, target=target, needs=Needs(target=target, **more.get(target, {"runtimes": NEEDS.runtimes})))
        for target in targets
    ]
    return replace(release, bundles=tuple(made))


def test_an_old_accelerator_library_leaves_nobody_out_and_is_said(rig):
    release = _of(add_release(rig.home, "3.0.0", b"model"), "edgetpu", "cpu")
    old = replace(NEW, accelerator=Accelerator("15.0", 13))
    found = fit(release, ("edgetpu", "cpu"), rig_reported(rig, old))
    assert found.target == "edgetpu"
    assert [each.code for each in found.meanwhile] == ["accelerator_too_old"]


def test_where_the_engine_of_the_preferred_target_is_missing_the_next_is_taken(rig):
    release = _of(add_release(rig.home, "3.0.0", b"model"), "onnx", "cpu")
    (onnx, cpu) = release.bundles
    release = replace(
        release, bundles=(replace(onnx, needs=Needs(target="onnx", runtimes={"onnxruntime": "1.17"})), cpu)
    )
    found = fit(release, ("onnx", "cpu"), rig_reported(rig, NEW))
    assert found.target == "cpu"


MIGRATION = {
    "coral": (("edgetpu", "cpu"), "edgetpu"),
    "coral that is replaced": (("onnx", "cpu"), "onnx"),
    "a Raspberry Pi beside it": (("cpu",), "cpu"),
}


@pytest.mark.parametrize(("targets", "taken"), MIGRATION.values(), ids=MIGRATION)
def test_one_release_is_for_boards_with_an_edge_tpu_and_for_their_successors(rig, targets, taken):
    """Also where it has a bundle for a successor that neither this host nor these boards know yet."""
    release = _of(add_release(rig.home, "3.0.0", b"model"), "edgetpu", "onnx", "cpu")
    npu = msgspec.Raw(b'{"target":"npu","artifacts":"of a form that only newer hosts know"}')
    signer = keys.load(rig.home.keys, "release")
    newer = replace(release, version="3.1.0", newer_bundles=(npu,))
    rig.store.add(newer, signer.sign(envelope.RELEASE, codec.encode(newer)))
    found = fit(rig.store.release("fashion@3.1.0"), targets, rig_reported(rig, None))
    assert found.target == taken


def test_a_bundle_for_a_later_target_is_chosen_published_and_exported_like_any_other(rig, tmp_path):
    """As if the Edge TPU had come later: its bundle is where only agents that know it look."""
    release = _of(add_release(rig.home, "3.0.0", b"model"), "edgetpu", "cpu")
    compiled = replace(release.bundles[0].model, blob=Store(rig.home.store).put(b"compiled model"))
    tpu = replace(release.bundles[0], artifacts=(compiled, *release.bundles[0].artifacts[1:]))
    known, newer = by_age((tpu, release.bundles[1]), first={"cpu"})
    made = replace(release, version="3.1.0", bundles=known, newer_bundles=newer)
    rig.store.add(made, keys.load(rig.home.keys, "release").sign(envelope.RELEASE, codec.encode(made)))
    read = rig.store.release("fashion@3.1.0")
    assert ([b.target for b in read.bundles], [b.target for b in read.offered]) == (["cpu"], ["cpu", "edgetpu"])
    assert fit(read, ("edgetpu", "cpu"), rig_reported(rig, NEW)).target == "edgetpu"
    assert compiled.blob in rig.store.blob_refs("fashion@3.1.0")
    export(rig.store, "fashion@3.1.0", "edgetpu", tmp_path / "stick")
    assert (tmp_path / "stick" / compiled.blob.sha256).read_bytes() == b"compiled model"
    slot = SlotReport("fashion@3.1.0", "edgetpu", "0" * 64, compiled.blob.sha256)
    assert {a.blob.sha256 for a in tpu.artifacts} <= rig.store.files_of(slot)


def test_a_board_with_a_target_that_this_host_does_not_know_is_heard_and_given_what_it_has_else(rig):
    rig.device.kept.facts = NEW
    rig.device.say()
    raw = msgspec.to_builtins(rig.twin.reported) | {"targets": ["npu", "cpu"], "sequence": 10**6}
    rig.device._port.publish(topics.reported("dev-1"), msgspec.json.encode(raw), retain=True)
    assert rig.twin.reported.targets == ("npu", "cpu")
    started = rig.start(add_release(rig.home, "3.0.0", b"model", needs=NEEDS).version)
    assert rig.row(started)[1].target == "cpu"


def test_the_forecast_counts_what_is_kept_beside_a_bundle_for_an_accelerator(rig):
    release = _of(add_release(rig.home, "3.0.0", b"model"), "edgetpu", "cpu")
    (tpu, cpu) = release.bundles
    compiled = replace(tpu.model, blob=Store(rig.home.store).put(b"compiled model"))
    release = replace(release, bundles=(replace(tpu, artifacts=(compiled, tpu.artifacts[1])), cpu))
    every = {a.blob.sha256: a.blob.size for bundle in release.bundles for a in bundle.artifacts}
    device = Device("dev-1", "coral", targets=("edgetpu", "cpu"))
    for facts, expected in ((NEW, sum(every.values())), (None, sum(a.blob.size for a in release.bundles[0].artifacts))):
        fits = fit(release, device.targets, rig_reported(rig, facts))
        with rig.registry.read() as session:
            (row,) = forecast(session, rig.store, release, [(device, fits)])
        assert (row.target, row.bytes_expected) == ("edgetpu", expected)


def rig_reported(rig, facts):
    rig.device.kept.facts = facts
    rig.device.say()
    return rig.twin.reported
