"""Settings from afar on the host: what is signed, what is gone on from, and what becomes of it by the devices' word."""

import pytest
from sqlalchemy import update

from skerry_agent.wire.refusals import RefusedOrder, message_sha256
from skerry_agent.wire.settings import NEWEST, SettingsReport
from skerry_agent.wire.twin import ModelReport
from skerry_host.fleet.errors import FleetError
from skerry_host.fleet.settings import Change, SettingsError
from skerry_host.fleet.several import NoneCanError
from skerry_host.plane.registry.records import devices, events, identities, settings, twins
from skerry_host.plane.registry.tables import SettingsRow
from skerry_host.plane.rollouts.director import Director
from skerry_host.plane.rollouts.settings import SettingsRequest, order_settings, sign_settings
from skerry_host.plane.views.gather import device_views
from skerry_host.release import keys
from tests.kit.rollouts import Rig, two_releases

KNOWS = SettingsReport(schema=NEWEST)


class SettingsRig(Rig):
    """With a device that knows settings."""

    def __init__(self, folder):
        super().__init__(folder)
        self.director = Director(keys.load(self.home.keys, "director"), self.store, self.clock)
        self.says(KNOWS)

    def says(self, report, **models):
        self.device.kept.settings = report
        self.device.kept.models |= models
        self.device.kept.generation = self.twin.generation
        self.device.say()

    def ends(self, outcome, code="", kept=None):
        """The device says this of the newest order."""
        name = self.wanted_of.newest.id
        self.says(
            SettingsReport(name, outcome, code, code and "why", schema=NEWEST, kept=name if kept is None else kept)
        )

    def set(self, change=None, **values):
        self.now += 1
        with self.registry.write() as session:
            request = SettingsRequest(change or Change(values), devices.all_devices(session))
            done = order_settings(session, request, self.now).done["dev-1"]
        sign_settings(self.registry, self.director, self.now)
        return done

    @property
    def wanted_of(self):
        with self.registry.read() as session:
            return settings.find(session, "dev-1")

    @property
    def signed(self):
        return self.twin.desired.settings if self.twin.desired is not None else None

    @property
    def view(self):
        with self.registry.read() as session:
            return device_views(session, devices.all_devices(session), history=0)[0].settings

    def events(self):
        with self.registry.read() as session:
            return [(each.kind, each.text) for each in events.latest(session) if each.kind.startswith("settings")]


@pytest.fixture
def rig(tmp_path):
    made = SettingsRig(tmp_path / "home")
    yield made
    made.registry.close()


def test_what_is_set_is_signed_and_only_that(rig):
    order = rig.set(telemetry_interval_s=30)
    assert (rig.signed.id, rig.signed.values) == (order.id, {"telemetry_interval_s": 30})
    assert rig.view.outcome == "sent"
    rig.ends("trial")
    rig.ends("kept")
    assert (rig.view.outcome, rig.view.differing) == ("kept", 0)
    assert rig.events() == [("settings_kept", ""), ("settings_ordered", "telemetry_interval_s=30")]


def test_it_stays_in_every_later_desired_state(rig):
    """A rollout, a removal, and a restart of the plane in between."""
    rig.set(telemetry_interval_s=30)
    rig.ends("kept")
    two_releases(rig)
    assert rig.wanted == "fashion@1.1.0"
    assert rig.signed.values == {"telemetry_interval_s": 30}


def test_a_change_goes_on_from_what_is_set(rig):
    rig.set(telemetry_interval_s=30, hang_s=20)
    rig.ends("kept")
    rig.set(hang_s=30)
    assert rig.signed.values == {"telemetry_interval_s": 30, "hang_s": 30}
    rig.ends("kept")
    rig.set(Change(unset=("hang_s",)))
    assert rig.signed.values == {"telemetry_interval_s": 30}
    rig.ends("kept")
    rig.set(Change(unset=("telemetry_interval_s",)))
    assert rig.signed.values == {}, "the device is told that nothing is set any more"


@pytest.mark.parametrize("outcome", ["rolled_back", "refused"])
def test_what_has_failed_is_in_no_later_desired_state_and_is_not_gone_on_from(rig, outcome):
    first = rig.set(telemetry_interval_s=30)
    rig.ends("kept")
    rig.set(broker_url="mqtt://nowhere")
    rig.ends(outcome, "no_connection", kept=first.id)
    assert rig.view.code == "no_connection"
    two_releases(rig)
    assert (rig.signed.id, rig.signed.values) == (first.id, {"telemetry_interval_s": 30})
    assert rig.view.outcome == outcome, "that another desired state was signed does not make it unsaid"
    rig.set(hang_s=30)
    assert rig.signed.values == {"telemetry_interval_s": 30, "hang_s": 30}


def test_a_first_order_that_has_failed_leaves_nothing_set(rig):
    rig.set(broker_url="mqtt://nowhere")
    rig.ends("rolled_back", "no_connection", kept="")
    two_releases(rig)
    assert rig.signed is None
    rig.set(hang_s=30)
    assert rig.signed.values == {"hang_s": 30}


def test_after_a_failure_the_devices_word_chooses_among_the_hosts_own_orders_and_brings_nothing_in(rig):
    """It may have kept one of which the host has not heard."""
    first = rig.set(hang_s=20)
    second = rig.set(hang_s=30)
    rig.set(hang_s=40)
    rig.ends("rolled_back", "no_connection", kept=second.id)
    rig.set(metered=True)
    assert rig.signed.values == {"hang_s": 30, "metered": True}
    assert first.id != second.id
    rig.ends("rolled_back", "no_connection", kept="set-of-nobody")
    rig.set(metered=True)
    assert rig.signed.values == {"metered": True}


def test_an_order_that_was_not_heard_of_yet_is_gone_on_from(rig):
    rig.set(hang_s=20)
    rig.set(metered=True)
    assert rig.signed.values == {"hang_s": 20, "metered": True}


def test_a_report_of_an_order_before_the_newest_decides_nothing(rig):
    first = rig.set(hang_s=20)
    rig.set(hang_s=30)
    rig.says(SettingsReport(first.id, "rolled_back", "no_connection", schema=NEWEST))
    assert rig.view.outcome == "sent"


def test_a_device_that_is_set_up_anew_is_told_what_is_set_and_never_what_has_failed(rig):
    first = rig.set(hang_s=20)
    rig.ends("kept")
    rig.set(broker_url="mqtt://nowhere")
    rig.ends("rolled_back", "no_connection", kept=first.id)
    with rig.registry.write() as session:
        rig.director.resign(session, "dev-1")
    assert rig.signed.values == {"hang_s": 20}


def test_a_device_of_which_nothing_else_was_desired_is_told_what_is_set_when_it_comes_back(rig):
    """It was retired, and its record is of another board now."""
    rig.set(hang_s=20)
    rig.ends("kept")
    with rig.registry.write() as session:
        twins.clear(session, "dev-1")
    assert rig.signed is None
    with rig.registry.write() as session:
        rig.director.resign(session, "dev-1")
    assert rig.signed.values == {"hang_s": 20}


def test_what_a_device_has_kept_of_another_registry_is_said_and_the_next_order_replaces_it(rig):
    """The host was restored from a backup of before."""
    rig.says(SettingsReport("set-of-before", "kept", schema=NEWEST, kept="set-of-before"))
    assert rig.view.outcome == "foreign_order"
    rig.set(hang_s=20)
    assert rig.signed.values == {"hang_s": 20}
    rig.ends("kept")
    assert rig.view.outcome == "kept"


def test_an_agent_from_before_settings_is_named_and_nothing_is_ordered(rig):
    rig.says(None)
    with pytest.raises(FleetError) as raised:
        rig.set(hang_s=20)
    assert raised.value.code == "settings_unknown"
    assert "newer skerry-agent" in raised.value.hint
    assert rig.view.knows is False


def test_a_key_that_a_devices_agent_does_not_know_yet_is_named(rig):
    rig.says(SettingsReport(schema=0))
    with pytest.raises(FleetError) as raised:
        rig.set(hang_s=20)
    assert (raised.value.code, "hang_s" in raised.value.message) == ("key_unknown", True)


def test_a_model_that_the_device_does_not_have_is_named(rig):
    rig.says(KNOWS, fashion=ModelReport("idle", serving=True))
    assert rig.set(Change({"models.fashion.camera": "/dev/video1"})).keys == ("models.fashion.camera",)
    with pytest.raises(FleetError) as raised:
        rig.set(Change({"models.fashon.camera": "/dev/video1"}))
    assert (raised.value.code, raised.value.hint) == ("no_model", "it has fashion")


def test_what_is_not_set_cannot_be_unset(rig):
    rig.set(hang_s=20)
    with pytest.raises(SettingsError, match="metered is not set there"):
        rig.set(Change(unset=("metered",)))


def test_what_the_board_keeps_for_itself_is_told_at_once(rig):
    rig.says(SettingsReport(schema=NEWEST, keeps=("metered",)))
    assert rig.set(metered=True, hang_s=20).kept_here == ("metered",)
    assert [(line.key, line.why) for line in rig.view.lines] == [("hang_s", ""), ("metered", "kept_here")]


def test_of_several_devices_those_that_can_are_ordered(rig):
    with rig.registry.write() as session:
        for name in ("dev-2", "dev-3"):
            devices.add(session, devices.Device(name, "generic-x86", targets=("cpu",)), 1.0)
    rig.says(None)
    with rig.registry.write() as session:
        several = order_settings(session, SettingsRequest(Change({"hang_s": 20}), devices.all_devices(session)), 1.0)
    assert (sorted(several.done), [each.code for each in several.refused]) == (["dev-2", "dev-3"], ["settings_unknown"])
    with rig.registry.write() as session, pytest.raises(NoneCanError, match="for none of 3 devices"):
        order_settings(session, SettingsRequest(Change(unset=("metered",)), devices.all_devices(session)), 1.0)


def test_a_desired_state_that_the_device_refuses_ends_the_order_with_its_reason(rig):
    rig.set(hang_s=20)
    with rig.registry.read() as session:
        raw = twins.find(session, "dev-1").envelope
    rig.device.kept.refused = (RefusedOrder("desired", "disk_full", message_sha256(raw), 1.0, "no space"),)
    rig.device.say()
    assert (rig.view.outcome, rig.view.code) == ("refused", "disk_full")
    rig.ends("kept")
    assert rig.view.outcome == "kept", "it has taken it after all"


def test_what_is_set_on_a_device_that_was_revoked_meanwhile_is_not_signed(rig):
    with rig.registry.write() as session:
        request = SettingsRequest(Change({"hang_s": 20}), devices.all_devices(session))
        order_settings(session, request, 1.0)
        identities.revoke(session, "dev-1", "stolen", 1.0)
    sign_settings(rig.registry, rig.director, 1.0)
    assert rig.signed is None
    assert rig.view.outcome == "refused"


def test_a_damaged_row_holds_up_neither_the_others_nor_a_rollout(rig):
    rig.set(hang_s=20)
    with rig.registry.write() as session:
        session.execute(update(SettingsRow).values(orders=b"{", signed=False))
    assert sign_settings(rig.registry, rig.director, 1.0)
    two_releases(rig)
    assert (rig.wanted, rig.signed) == ("fashion@1.1.0", None), "the device keeps what it has"
    assert rig.set(metered=True).keys == ("metered",)


def test_the_record_of_a_board_that_has_not_come_keeps_what_is_set_when_it_is_renamed(rig):
    with rig.registry.write() as session:
        devices.add(session, devices.Device("dev-2", "generic-x86", targets=("cpu",)), 1.0)
        order_settings(session, SettingsRequest(Change({"hang_s": 20}), [devices.find(session, "dev-2")]), 1.0)
        devices.rename(session, "dev-2", "dev-9")
    sign_settings(rig.registry, rig.director, 1.0)
    with rig.registry.read() as session:
        assert twins.find(session, "dev-9").desired.settings.values == {"hang_s": 20}


def test_the_view_tells_wanted_from_running(rig):
    rig.set(hang_s=20, metered=True)
    assert [(line.wanted, line.running, line.differs) for line in rig.view.lines] == [
        ("20", None, True),
        ("true", None, True),
    ]
    rig.ends("kept")
    assert [(line.wanted, line.running, line.differs) for line in rig.view.lines] == [
        ("20", "20", False),
        ("true", "true", False),
    ]


def test_after_a_failure_the_view_goes_on_to_say_what_runs(rig):
    """Also once the device speaks of the order before again, because a later desired state has that."""
    first = rig.set(hang_s=20)
    rig.ends("kept")
    rig.set(hang_s=30, metered=True)
    rig.ends("rolled_back", "no_connection", kept=first.id)
    two_releases(rig)
    rig.says(SettingsReport(first.id, "kept", schema=NEWEST, kept=first.id))
    assert [(line.key, line.wanted, line.running, line.differs) for line in rig.view.lines] == [
        ("hang_s", "30", "20", True),
        ("metered", "true", "agent.toml's", True),
    ]
    assert (rig.view.outcome, rig.view.code) == ("rolled_back", "no_connection")


def test_only_a_trial_that_this_host_has_ordered_is_confirmed_at_once(rig):
    def begun():
        return rig.ingest.trials.qsize()

    rig.says(SettingsReport("set-of-nobody", "trial", schema=NEWEST))
    assert begun() == 0
    rig.set(broker_url="mqtt://there")
    rig.ends("trial")
    rig.ends("trial")
    assert begun() == 1
    assert rig.ingest.trials.get_nowait() == ("dev-1", rig.now + 3 * 120.0)


def test_what_a_device_has_kept_is_gone_on_from_however_many_orders_have_failed_since(tmp_path):
    rig = SettingsRig(tmp_path)
    rig.set(telemetry_interval_s=30)
    rig.ends("kept")
    kept = rig.wanted_of.newest.id
    for port in range(3 * settings.REMEMBERED):
        rig.set(broker_url=f"mqtt://nowhere:{port + 1}")
        rig.ends("rolled_back", "no_connection", kept)
    assert rig.set(log_level="debug").keys == ("log_level", "telemetry_interval_s")
    assert len(rig.wanted_of.orders) == settings.REMEMBERED + 1
