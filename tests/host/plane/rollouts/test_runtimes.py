"""A rollout moves devices to a release and a runtime: what is sent, what is kept, who is left out, and the way back."""

import pytest
from msgspec.structs import replace

from skerry_agent.wire.admission import DeviceFacts
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.twin import ModelReport
from skerry_host.fleet.errors import FleetError
from skerry_host.fleet.policy import Policy
from skerry_host.plane.delivery.required_blobs import RequiredBlobsReader
from skerry_host.plane.registry.records import devices
from skerry_host.plane.rollouts.forecast import forecast
from skerry_host.plane.rollouts.intake import RolloutRequest, fitting_targets, order_rollback, start_rollout
from skerry_host.plane.views.briefs import Briefs
from skerry_host.plane.views.gather import device_views, rollout_view
from skerry_host.release import keys
from skerry_host.release.errors import ReleaseError
from skerry_host.release.runtime_choice import RuntimeChoice
from skerry_host.release.runtime_store import RuntimeStore
from skerry_host.release.runtimes import RuntimeRequest, create_runtime
from skerry_host.release.wheel_place import Place
from tests.kit.rollouts import Rig
from tests.kit.wheels import Wheel, write_wheels

PC, PI = Place("x86_64", "cp311"), Place("aarch64", "cp311")
FACTS = DeviceFacts(machine="x86_64", python="cp311", glibc="2.36", disk_free_bytes=10**9, runtimes={})
OLD, NEW = "litert@2.3.0", "litert@2.4.0"


class RuntimeRig(Rig):
    """The rollout loop with two runtimes, each for a PC and a Pi."""

    def __init__(self, folder):
        super().__init__(folder / "home")
        self.runtimes = RuntimeStore(self.store)
        for name in (OLD, NEW):
            version = name.partition("@")[2]
            folders = []
            for place in (PC, PI):
                tag = f"cp311-cp311-manylinux_2_28_{place.machine}"
                wheel = Wheel(version=version, tag=tag, files={"tiny.py": f"# {place.machine} {version}" * 500})
                folders.append(write_wheels(folder / name / place.machine, wheel))
            request = RuntimeRequest(tuple(folders), "litert", version)
            create_runtime(request, self.store, keys.load(self.home.keys, "release"), version)
        self.device.kept.facts = FACTS

    def tar(self, name, place=PC):
        return self.runtimes.manifest(name).find(place.machine, place.python).artifact

    def able(self, version, runtime=""):
        choice = RuntimeChoice(self.runtimes, runtime)
        release = self.store.release(f"fashion@{version}")
        with self.registry.read() as session:
            return fitting_targets(session, release, devices.all_devices(session), (), choice)

    def begin(self, version, runtime=""):
        """Start a rollout as the command line does; not sent yet."""
        able = self.able(version, runtime).done
        release = self.store.release(f"fashion@{version}")
        given = {name: (fits.runtime, fits.runtime_bytes) for name, (_, fits) in able.items()}
        with self.registry.write() as session:
            those = [device for device, _ in able.values()]
            request = RolloutRequest(release, those, "all", Policy(silence_s=60), runtime=runtime, runtimes=given)
            return start_rollout(session, request, self.now)

    def go(self, version, runtime="", outcome="succeeded"):
        """The same, sent, and ended by the device."""
        started = self.begin(version, runtime)
        self.turn()
        before = self.device.kept.models.get("fashion")
        self.end(outcome, previous=before.current if before is not None else None)
        return started

    def slot(self, release):
        assigned = self.twin.assignment("fashion")
        slot = super().slot(release)
        if assigned.runtime is None:
            return slot
        return replace(
            slot, runtime=self.runtimes.named(assigned.runtime.sha256), runtime_sha256=assigned.runtime.sha256
        )

    def plan(self, version, runtime=""):
        able = self.able(version, runtime).done.values()
        with self.registry.read() as session:
            return forecast(session, self.store, self.store.release(f"fashion@{version}"), able)[0]

    def required(self):
        with self.registry.read() as session:
            return set(RequiredBlobsReader(self.store, lambda: 2.0).read(session).blobs)

    def view(self):
        with self.registry.read() as session:
            return device_views(session, devices.all_devices(session))[0].models[0]


@pytest.fixture
def rig(tmp_path):
    made = RuntimeRig(tmp_path)
    yield made
    made.registry.close()


def test_a_device_that_runs_the_release_is_moved_by_the_runtime_alone(rig):
    rig.go("1.0.0")
    plan = rig.plan("1.0.0", NEW)
    assert (plan.path, plan.runtime, plan.runtime_bytes) == ("held", NEW, rig.tar(NEW).size)
    assert plan.bytes_expected == rig.tar(NEW).size
    assert plan.rollback == "fashion@1.0.0 with the base runtime"
    rig.go("1.0.0", NEW)
    assert rig.twin.assignment("fashion").runtime == rig.runtimes.manifest_ref(NEW)
    assert (rig.view().runtime, rig.view().previous_runtime) == (NEW, "")
    assert rig.plan("1.0.0", NEW).bytes_expected == 0, "it is held"


def test_only_the_wheels_for_a_device_are_published_and_all_of_them_where_nobody_knows_what_it_is(rig):
    rig.begin("1.0.0", NEW)
    manifest, mine, other = rig.runtimes.manifest_ref(NEW).sha256, rig.tar(NEW).sha256, rig.tar(NEW, PI).sha256
    assert {manifest, mine, other} <= rig.required(), "it has not said what it is"
    rig.device.say()
    assert rig.required() & {manifest, mine, other} == {manifest, mine}
    rig.turn()
    assert rig.required() & {manifest, mine, other} == {manifest, mine}, "also once it is ordered"
    rig.end("succeeded")
    assert not rig.required() & {manifest, mine, other}


def test_later_rollouts_keep_the_runtime_and_base_goes_back(rig):
    rig.go("1.0.0", NEW)
    rig.go("1.1.0")
    assert rig.twin.assignment("fashion").runtime == rig.runtimes.manifest_ref(NEW)
    assert rig.plan("1.2.0").runtime_bytes == 0
    assert rig.plan("1.2.0").rollback == f"fashion@1.1.0 with {NEW}"
    rig.go("1.1.0", "base")
    assert rig.twin.assignment("fashion").runtime is None
    assert rig.view().runtime == ""


def test_what_a_device_keeps_is_what_it_runs_and_not_what_failed(rig):
    rig.go("1.0.0", OLD)
    kept = rig.device.kept.models["fashion"]
    rig.begin("1.0.0", NEW)
    rig.turn()
    rig.end("failed", reason="runtime_crashed")
    rig.say(replace(kept, deployment=rig.device.kept.models["fashion"].deployment))
    rig.go("1.1.0")
    assert rig.twin.assignment("fashion").runtime == rig.runtimes.manifest_ref(OLD)


LEFT_OUT = {
    "no_wheelhouse": {"facts": replace(FACTS, machine="armv7l")},
    "no_wheelhouse for its Python": {"facts": replace(FACTS, python="cp313")},
    "glibc_too_old": {"facts": replace(FACTS, glibc="2.17")},
    "not_enough_disk": {"facts": replace(FACTS, disk_free_bytes=1_000_000)},
    "agent_too_old": {"facts": None},
    "rollback_without_runtime": {"gone": True},
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_who_cannot_have_it_is_left_out_with_the_reason_before_anything_is_sent(rig, case):
    rig.go("1.0.0", OLD)
    rig.device.kept.facts = LEFT_OUT[case].get("facts", FACTS)
    if "gone" in LEFT_OUT[case]:
        model = rig.device.kept.models["fashion"]
        rig.say(replace(model, current=replace(model.current, runtime_gone=True)))
    rig.device.say()
    with pytest.raises(FleetError) as left_out:
        rig.able("1.0.0", NEW)
    assert left_out.value.code == case.split()[0]
    assert left_out.value.hint


def test_a_device_whose_runtime_is_gone_can_be_given_that_again_or_the_base(rig):
    rig.go("1.0.0", OLD)
    model = rig.device.kept.models["fashion"]
    rig.say(replace(model, current=replace(model.current, runtime_gone=True)))
    assert rig.view().runtime_gone
    assert rig.plan("1.0.0", OLD).runtime_bytes == rig.tar(OLD).size
    assert rig.plan("1.0.0", "base").runtime_bytes == 0


def test_a_runtime_that_does_not_exist_or_is_an_agent_is_one_line(rig, tmp_path):
    with pytest.raises(ReleaseError, match=r"there is no runtime litert@9\.0\.0"):
        RuntimeChoice(rig.runtimes, "litert@9.0.0").check()
    wheel = Wheel("skerry-agent", files={"skerry_agent/x.py": ""}, tag="cp311-cp311-manylinux_2_28_x86_64")
    folder = write_wheels(tmp_path / "agent", wheel)
    request = RuntimeRequest((folder,), "agent", "1.0.0", "agent")
    create_runtime(request, rig.store, keys.load(rig.home.keys, "release"), "now")
    with pytest.raises(ReleaseError, match="of kind agent, not runtime"):
        RuntimeChoice(rig.runtimes, "agent@1.0.0").check()


def test_an_ordered_rollback_is_adopted_with_the_runtime_that_it_brought_back(rig):
    rig.go("1.0.0", OLD)
    before = rig.device.kept.models["fashion"].current
    rig.go("1.0.0", NEW)
    with rig.registry.write() as session:
        order_rollback(session, "dev-1", "fashion", rig.now)
    rig.turn()
    rig.device.answer(rig.order().id, ok=True)
    rig.say(ModelReport("idle", True, current=before))
    rig.turn()
    rig.turn()
    assert rig.order().state == "done"
    assert rig.twin.assignment("fashion").runtime == rig.runtimes.manifest_ref(OLD)
    assert not rig.view().diverged


def test_a_device_with_another_runtime_than_desired_is_diverged(rig):
    rig.go("1.0.0", NEW)
    model = rig.device.kept.models["fashion"]
    rig.say(ModelReport("idle", True, current=replace(model.current, runtime="", runtime_sha256="")))
    assert rig.view().diverged


def test_a_runtime_that_the_store_has_lost_ends_the_deployment_with_the_reason(rig):
    started = rig.begin("1.0.0", NEW)
    rig.device.say()
    rig.store.path(rig.tar(NEW).sha256).unlink()
    rig.turn()
    _, deployment = rig.row(started)
    assert (deployment.outcome, deployment.reason) == ("failed", "missing_object")
    assert f"runtime {NEW}: the store has no object" in deployment.detail
    assert rig.twin.assignment("fashion") is None


def test_a_rollout_shows_its_runtime_and_counts_its_bytes_as_part_of_the_whole(rig):
    started = rig.go("1.0.0", NEW)
    with rig.registry.read() as session:
        view = rollout_view(session, rig.row(started)[0])
    assert (view.runtime, view.deployments[0].runtime) == (NEW, NEW)
    artifacts = rig.store.release("fashion@1.0.0").bundles[0].artifacts
    assert view.deployments[0].full_bytes == sum(a.blob.size for a in artifacts) + rig.tar(NEW).size
    assert describe(rig.store.get(rig.tar(NEW).sha256)) == rig.tar(NEW)


def test_a_runtime_that_failed_is_shown_though_the_release_is_the_one_that_runs(rig):
    rig.go("1.0.0", OLD)
    kept = rig.device.kept.models["fashion"]
    rig.begin("1.0.0", NEW)
    rig.turn()
    rig.end("failed", reason="runtime_crashed")
    rig.say(replace(kept, deployment=rig.device.kept.models["fashion"].deployment))
    view = rig.view()
    assert (view.missed, view.attempted_runtime, view.diverged) == (True, True, False)
    with rig.registry.read() as session:
        assert Briefs().read(session, connected=True)[0].failed
