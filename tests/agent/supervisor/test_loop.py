"""The supervisor between fakes: how it asks for orders, and how local installs and the host's orders interact."""

import os
import shutil

import pytest
from msgspec.structs import replace

from skerry_agent.deployment.unit import RESUME_ORDER_S
from skerry_agent.fetch.sources import Folder
from skerry_agent.machine import events
from skerry_agent.machine.records import Record, Slot, Slots
from skerry_agent.ports.jobs import Refusal
from skerry_agent.ports.runner_protocol import Heartbeat
from skerry_agent.state.disk import sha256_of
from skerry_agent.state.factory import FactoryFolder
from skerry_agent.state.journal import Journal
from skerry_agent.state.slots import write_bundle
from skerry_agent.supervisor.issues import SUPPLY_ISSUE_S, SUPPLY_S
from skerry_agent.supervisor.local import Done, InstallRequest, RollbackRequest, StatusRequest
from skerry_agent.supervisor.loop import PROGRESS_S
from skerry_agent.supervisor.order_request import FIRST_ASK_S, LAST_ASK_S
from skerry_agent.wire import codec, envelope, topics
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.codec import MAX_MESSAGE_BYTES
from skerry_agent.wire.manifest import Provenance, Quality, Release
from skerry_agent.wire.report_forms import decode_report
from skerry_agent.wire.sketch import Sketch
from skerry_agent.wire.twin import Assignment, Command, CommandResult, Desired, Reported
from tests.kit.site import BUNDLE, DESIRED, SLOT, Site, signed

QUALITY = Quality("top1", 1, 1.0, 1.0, (0.0, 1.0), (0.0, 1.0), {}, 1, 1)
SITE_DESIRED = Desired("dev-1", 3, 1.0)
RELEASE = Release(1, "m", "2.0.0", 2, (BUNDLE,), QUALITY, Provenance("0" * 64, "1" * 64, {}, ""))


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path / "device")


@pytest.fixture
def stick(tmp_path):
    folder = tmp_path / "stick"
    folder.mkdir()
    (folder / "release.json").write_bytes(signed(envelope.RELEASE, RELEASE))
    return folder


def assignment(number, version="1.0.0", model="m"):
    return Assignment(model, f"{model}@{version}", "cpu", describe(b"manifest"), f"d-{number}")


def test_orders_are_asked_for_again_less_and_less_often(site):
    asked = []
    site.link.subscribe = lambda names: asked.append((site.clock.now, names))
    unsubscribed = []
    site.link.unsubscribe = unsubscribed.append
    began = site.clock.now
    site.agent.link_up()
    site.clock.advance(2.5 * 3600.0)
    times = [now - began for now, names in asked if DESIRED in names]
    assert times[:4] == [0.0, FIRST_ASK_S, 3 * FIRST_ASK_S, 7 * FIRST_ASK_S]
    assert times[-1] - times[-2] == LAST_ASK_S
    assert len(unsubscribed) == len(asked)  # some brokers send nothing for what is subscribed already


def test_a_new_connection_asks_at_once_and_starts_the_pauses_anew(site):
    site.agent.link_up()
    site.clock.advance(3600.0)
    asked = []
    site.link.subscribe = lambda names: asked.append(site.clock.now)
    site.agent.link_up()
    site.clock.advance(FIRST_ASK_S)
    assert len(asked) == 2


def test_what_is_no_longer_wanted_is_given_up_at_once(site):
    site.agent.link_up()
    site.want(1, assignment(1))
    assert site.deployment().outcome is None
    site.want(2)
    assert (site.deployment().outcome, site.deployment().reason) == ("cancelled", "withdrawn")
    assert not [topic for topic in site.link.subscribed if "/blob/" in topic]


def test_a_local_install_replaces_a_fetch_and_the_hosts_order_does_not_return(site, stick):
    site.want(1, assignment(1))
    done = site.agent.local(InstallRequest(str(stick)))
    assert done.ok, done.detail
    assert site.deployment().id == done.detail
    site.want(2, assignment(1), assignment(7, model="other"))
    assert site.deployment().id == done.detail
    site.want(3, assignment(2))
    assert site.deployment().id == "d-2"


def test_the_host_cannot_withdraw_what_it_did_not_order(site, stick):
    done = site.agent.local(InstallRequest(str(stick)))
    site.want(1)
    assert (site.deployment().id, site.deployment().outcome) == (done.detail, None)


def _pipe(path):
    os.mkfifo(path)


def _endless(path):
    path.symlink_to("/dev/zero")


def _too_long(path):
    path.write_bytes(b" " * (MAX_MESSAGE_BYTES + 1))


@pytest.mark.parametrize("put", [_pipe, _endless, _too_long])
def test_a_manifest_that_has_no_end_is_no_export(site, stick, put):
    (stick / "release.json").unlink()
    put(stick / "release.json")
    assert not site.agent.local(InstallRequest(str(stick))).ok
    assert FactoryFolder(stick.parent).release(stick.name) is None


@pytest.mark.parametrize("put", [_pipe, _endless])
def test_a_file_on_a_stick_that_has_no_end_is_refused(tmp_path, put):
    ref = describe(b"m")
    put(tmp_path / ref.sha256)
    with pytest.raises(OSError, match="regular"):
        Folder(lambda call: call(), tmp_path).read(ref, 0)
    with pytest.raises(OSError, match="regular"):
        sha256_of(tmp_path / ref.sha256)


def test_an_install_needs_no_folder_that_somebody_has_removed(site, stick):
    shutil.rmtree(site.agent.config.state_dir)
    assert site.agent.local(InstallRequest(str(stick))).ok
    assert site.deployment().outcome is None


def test_what_the_disk_says_names_the_file(site, stick):
    blobs = site.agent.config.state_dir / "blobs"
    blobs.rmdir()
    blobs.symlink_to("nowhere")
    done = site.agent.local(InstallRequest(str(stick)))
    assert not done.ok
    assert "blobs" in done.detail


def test_a_folder_that_is_no_export_changes_nothing(site, tmp_path):
    done = site.agent.local(InstallRequest(str(tmp_path)))
    assert done == Done(ok=False, detail=done.detail)
    assert site.agent.local(StatusRequest()).status.models == {}


def bundles_after_a_start(folder, record, spoil=lambda _path: None):
    """Which bundles are kept of three bundles when a supervisor has started on a journal."""
    state, path = folder / "device" / "state", folder / "device" / "state" / "models" / "m" / "journal.json"
    for name in ("held", "superseded", "loose"):
        (state / "bundles" / name).mkdir(parents=True)
        write_bundle(state / "bundles" / name, BUNDLE)
    Journal(path).write(record)
    spoil(path)
    Site(folder / "device").clock.advance(1.0)
    return sorted(bundle.name for bundle in (state / "bundles").iterdir())


def test_what_no_slot_needs_is_collected(tmp_path):
    assert bundles_after_a_start(tmp_path, Record(slots=Slots(SLOT))) == ["held"]


def test_what_may_have_to_come_back_is_kept(tmp_path):
    superseded = replace(SLOT, bundle="superseded")
    assert bundles_after_a_start(tmp_path, Record(slots=Slots(SLOT, superseded=superseded))) == ["held", "superseded"]


def test_nothing_is_collected_while_the_state_of_a_model_is_lost(tmp_path):
    damaged = bundles_after_a_start(
        tmp_path, Record(slots=Slots(SLOT)), lambda path: path.write_bytes(path.read_bytes()[:-3])
    )
    assert damaged == ["held", "loose", "superseded"]


def test_there_is_nothing_to_roll_back_to(site):
    assert not site.agent.local(RollbackRequest()).ok


COMMAND = topics.command("dev-1")


def rollback_order(site, sequence=1):
    command = Command("dev-1", f"c-{sequence}", "rollback", 1.0, sequence=sequence)
    site.agent.message(COMMAND, signed(envelope.COMMAND, command))


def test_a_model_that_an_old_order_removed_is_installed_again_if_desired(site):
    """A new state folder knows neither that the order was carried out, nor what it was meant for."""
    site.agent.link_up()
    site.want(1, assignment(1))
    rollback_order(site)
    assert (site.deployment().outcome, site.deployment().reason) == ("cancelled", "ordered")
    site.clock.advance(RESUME_ORDER_S + 2 * PROGRESS_S)
    assert (site.deployment().id, site.deployment().outcome) == ("d-1", None)


def test_what_an_order_removed_is_installed_again_after_a_restart_too(tmp_path):
    site = Site(tmp_path / "device")
    site.want(1, assignment(1))
    rollback_order(site)
    site.clock.advance(0.1)
    again = Site(tmp_path / "device")
    again.clock.advance(RESUME_ORDER_S + 2 * PROGRESS_S)
    assert again.deployment().outcome is None


def test_what_the_host_no_longer_wants_is_not_installed_again(site):
    site.agent.link_up()
    site.want(1, assignment(1))
    rollback_order(site)
    site.want(2)
    site.clock.advance(10 * RESUME_ORDER_S)
    assert site.deployment().outcome == "cancelled"


def test_a_release_that_failed_is_not_installed_again(site):
    site.agent.link_up()
    site.plan = Refusal("rejected", "untrusted", "no valid signature")
    site.want(1, assignment(1))
    unit = site.agent._units["m"]
    unit.handle(events.Rejected("untrusted", "no valid signature"))
    site.clock.advance(10 * RESUME_ORDER_S)
    assert site.deployment().outcome == "rejected"


# -- reports -------------------------------------------------------------------------------------------------------


def reports(site):
    return [decode_report(raw) for topic, raw in site.link.published if topic == topics.telemetry("dev-1")]


def test_a_watched_device_reports_at_once_and_often_until_its_time_is_over(site):
    site.clock.advance(125)
    assert [report.duration_s for report in reports(site)] == [60.0]
    command = Command("dev-1", "c-1", "watch", 0.0, sequence=1, seconds=100.0)
    site.agent.message(topics.command("dev-1"), signed(envelope.COMMAND, command))
    site.clock.advance(0.1)
    assert [report.duration_s for report in reports(site)] == [60.0, 60.0, pytest.approx(5.0)]
    site.clock.advance(99)
    assert [report.duration_s for report in reports(site)[3:]] == [pytest.approx(10.0)] * 9
    site.clock.advance(400)
    assert max(report.duration_s for report in reports(site)) >= 60.0
    answers = [codec.decode(raw, CommandResult) for topic, raw in site.link.published if topic.endswith("/result")]
    assert [(answer.ok, answer.detail) for answer in answers] == [(True, "it reports every 10 s for 100 s")]


def test_a_watch_is_ended_by_another_of_no_time(site):
    for sequence, seconds in ((1, 100.0), (2, 0.0)):
        command = Command("dev-1", f"c-{sequence}", "watch", 0.0, sequence=sequence, seconds=seconds)
        site.agent.message(topics.command("dev-1"), signed(envelope.COMMAND, command))
        site.clock.advance(15)
    before = len(reports(site))
    site.clock.advance(50)
    assert len(reports(site)) <= before + 1


def test_a_device_that_stops_keeps_what_it_has_not_reported(site):
    site.clock.advance(70)
    site.agent.stop()
    assert [report.duration_s for report in reports(site)] == [60.0, pytest.approx(10.0)]


def test_on_a_metered_link_orders_are_asked_for_less_often(tmp_path):
    made = Site(tmp_path / "device", metered=True)
    asked = []
    made.link.subscribe = lambda names: asked.append(made.clock.now)
    made.agent.link_up()
    made.clock.advance(86_400.0)
    assert len([at for at in asked if at > asked[0] + 43_200]) <= 2


class LowSupply:
    """Meters of a board whose supply voltage is too low from a time on."""

    def __init__(self):
        self.low_at = None

    def samples(self, pids, duration_s, accelerator_s=0.0):
        return []

    def active_energy(self, cpu_s, accelerator_s=0.0):
        return None

    def undervoltage_since(self, at):
        return "firmware mailbox" if self.low_at is not None and self.low_at >= at else None


def test_a_supply_voltage_that_is_too_low_is_an_issue_while_it_is_and_some_time_after(tmp_path):
    meters = LowSupply()
    site = Site(tmp_path / "device", meters=meters)
    reported = []
    site.link.publish = lambda topic, payload, **_: reported.append((topic, payload))

    def issues():
        return [issue for issue in site.agent.status().issues if issue.startswith("power_supply: ")]

    site.clock.advance(SUPPLY_S)
    assert issues() == []
    meters.low_at = site.clock.monotonic()
    site.clock.advance(SUPPLY_S + 1.0)
    assert len(issues()) == 1
    assert any(b"power_supply" in payload for topic, payload in reported if topic == topics.reported("dev-1"))
    site.clock.advance(SUPPLY_ISSUE_S + SUPPLY_S)
    assert issues() == []


def test_what_the_meters_say_of_the_supply_reaches_who_judges_a_candidate(tmp_path):
    meters = LowSupply()
    site = Site(tmp_path / "device", meters=meters)
    assert site.agent._context.undervoltage_since(0.0) is None
    meters.low_at = 5.0
    assert site.agent._context.undervoltage_since(5.0) == "firmware mailbox"


class Watching(LowSupply):
    """Meters that note for how long an accelerator is said to have worked."""

    def __init__(self):
        super().__init__()
        self.accelerator_s = []

    def samples(self, pids, duration_s, accelerator_s=0.0):
        self.accelerator_s.append(accelerator_s)
        return []


@pytest.mark.parametrize(("target", "expected"), [("edgetpu", 0.5), ("cpu", 0.0)])
def test_the_time_of_inferences_on_an_accelerator_is_told_to_the_meters(tmp_path, target, expected):
    meters = Watching()
    site = Site(tmp_path / "device", meters=meters)
    site.want(1, assignment(1))
    slot = Slot("b", "m@1.0.0", target, "a" * 64, "b" * 64)
    beat = Heartbeat(100, 0, 0, 0, Sketch({"300": 100}, 0, 500_000.0), 0.0, 1, 0.01)
    site.agent._heartbeat("m", slot, beat)
    site.agent._reports.put(0.0)
    assert meters.accelerator_s == [expected]


def test_a_device_that_is_named_while_it_runs_speaks_and_listens_under_that_name(tmp_path):
    site = Site(tmp_path / "device")
    site.agent.named("edge-17", "a1" * 16)
    site.agent.link_up()
    site.clock.advance(1.0)
    assert {topic.split("/")[3] for topic, _ in site.link.published if "/d/" in topic} == {"edge-17"}
    assert topics.desired("edge-17") in site.link.subscribed
    assert site.agent.status().device == "edge-17"
    order = replace(SITE_DESIRED, device="edge-17", incarnation="a1" * 16)
    site.agent.message(topics.desired("edge-17"), signed(envelope.DESIRED, order))
    site.clock.advance(1.0)
    reported = codec.decode(site.link.retained[topics.reported("edge-17")], Reported)
    assert (reported.device, reported.generation) == ("edge-17", 3)
