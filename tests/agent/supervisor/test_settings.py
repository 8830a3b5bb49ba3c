"""Settings from afar on a device: kept when it is healthy under them, else what held before comes back by itself."""

import socket

import pytest
from msgspec.structs import replace

from skerry_agent.config import ModelSection
from skerry_agent.machine.records import State
from skerry_agent.machine.settings import MAX_ATTEMPTS
from skerry_agent.ports.runner_protocol import CameraSource, ReplaySource
from skerry_agent.state.settings import FILES, read_settings
from skerry_agent.wire import envelope
from skerry_agent.wire.settings import Difference
from skerry_agent.wire.twin import Desired
from tests.kit.settings_site import HERE, NOWHERE, STRANGE, THERE, SettingsSite
from tests.kit.site import DESIRED, signed


@pytest.fixture
def site(tmp_path):
    return SettingsSite(tmp_path)


@pytest.fixture
def serving(tmp_path):
    """With a model that is fed by a camera, on a port of its own."""
    made = SettingsSite(tmp_path, {"m": ModelSection(sources=(CameraSource(),), unix="")}, installed=("m",))
    made.turn(2.0)
    assert made.agent.status().models["m"].serving
    return made


def test_an_interval_is_taken_at_once_and_kept(site):
    site.order("o1", {"telemetry_interval_s": 5, "log_level": "debug"})
    assert site.outcome == ("trial", "")
    assert site.agent.config.agent.telemetry_interval_s == 5.0
    site.turn(5.0)
    assert (site.outcome, site.told.kept) == (("kept", ""), "o1")
    site.restart()
    assert (site.agent.config.agent.telemetry_interval_s, site.outcome) == (5.0, ("kept", ""))


def test_what_is_left_out_of_the_next_order_is_agent_tomls_again(site):
    site.order("o1", {"telemetry_interval_s": 5, "hang_s": 20})
    site.turn(5.0)
    site.order("o2", {"hang_s": 20})
    site.turn(5.0)
    assert (site.agent.config.agent.telemetry_interval_s, site.agent.config.agent.hang_s) == (60.0, 20.0)
    site.order("o3", {})
    site.turn(5.0)
    assert (site.outcome, site.agent.config.agent.hang_s) == (("kept", ""), 10.0)


def test_a_desired_state_that_says_nothing_of_settings_changes_none(site):
    """A host from before settings, or whose record of them is damaged."""
    site.order("o1", {"telemetry_interval_s": 5})
    site.turn(5.0)
    site.order(None, {})
    site.turn(5.0)
    assert (site.agent.config.agent.telemetry_interval_s, site.outcome) == (5.0, ("kept", ""))


@pytest.mark.parametrize(
    ("values", "code", "words"),
    [
        ({"telemetry_interval_s": "often"}, "invalid_settings", "telemetry_interval_s"),
        ({"telemetry_interval_s": 5, "no_such_key": 1}, "invalid_settings", "no_such_key"),
        ({"hang_s": 1.5}, "invalid_settings", "beat_s"),
        ({"models.other.http": "auto"}, "unknown_model", "other"),
        ({"time_zone": "Europe/Atlantis"}, "invalid_settings", "Atlantis"),
        ({"models.m.http": "0.0.0.0:8001"}, "invalid_settings", "without TLS"),
        ({"models.m.results_file": "state/desired.json"}, "invalid_settings", "results"),
        ({"models.m.results_file": "state/results/../desired.json"}, "invalid_settings", "results"),
        ({"models.m.results_file": "trust.json"}, "invalid_settings", "works with"),
        ({"models.m.results_file": "state/../fleet-ca.pem/../trust.json"}, "invalid_settings", "works with"),
        ({"models.m.results_file": "/dev/zero"}, "invalid_settings", "works with"),
        ({"models.m.sources": [{"type": "directory", "path": "state/outbox"}]}, "invalid_settings", "samples"),
        ({"models.m.sources": [{"type": "directory", "path": "."}]}, "invalid_settings", "samples"),
    ],
)
def test_what_cannot_be_is_refused_as_a_whole(serving, values, code, words):
    serving.order("o1", values)
    assert serving.outcome == ("refused", code)
    assert words in serving.report.detail
    assert serving.agent.config.agent.telemetry_interval_s == 60.0
    assert serving.told.outcome == "refused"


def test_a_value_that_is_nested_without_end_is_refused_and_breaks_nothing(site, tmp_path):
    deep: list = []
    for _ in range(400):
        deep = [deep]
    site.order("o1", {"telemetry_interval_s": deep, "hang_s": 20})
    assert site.outcome == ("refused", "invalid_settings")
    site.restart()
    assert (site.outcome, site.agent.config.agent.hang_s) == (("refused", "invalid_settings"), 10.0)
    assert [each.key for each in site.report.differences] == ["hang_s", "telemetry_interval_s"]


def test_what_agent_toml_keeps_for_itself_stays_and_the_rest_is_taken(tmp_path):
    site = SettingsSite(tmp_path, keeps=("telemetry_interval_s",))
    assert site.told.keeps == ("telemetry_interval_s",)
    site.order("o1", {"telemetry_interval_s": 5, "hang_s": 20})
    site.turn(5.0)
    assert site.outcome == ("kept", "")
    assert (site.agent.config.agent.telemetry_interval_s, site.agent.config.agent.hang_s) == (60.0, 20.0)
    assert site.told.differences == (Difference("telemetry_interval_s", "5.0", "60.0", "kept_here"),)


def test_an_order_that_has_failed_is_not_tried_again_until_it_is_ordered_anew(site):
    site.order("o1", {"broker_url": NOWHERE}, trial_s=10.0)
    site.turn(15.0)
    assert site.outcome == ("rolled_back", "no_connection")
    places = len(site.link.places)
    site.order("o1", {"broker_url": NOWHERE}, trial_s=10.0)
    site.restart()
    site.order("o1", {"broker_url": NOWHERE}, trial_s=10.0)
    site.turn(5.0)
    assert (site.outcome, site.link.places) == (("rolled_back", "no_connection"), [])
    assert places
    site.order("o2", {"broker_url": NOWHERE}, trial_s=10.0)
    assert site.outcome == ("trial", "")


def test_a_host_that_was_restored_from_a_backup_has_its_way_again(site):
    """An order of before the one that is kept, in a newer desired state."""
    site.order("o1", {"telemetry_interval_s": 5})
    site.turn(5.0)
    site.order("o2", {"telemetry_interval_s": 7})
    site.turn(5.0)
    site.order("o1", {"telemetry_interval_s": 5})
    site.turn(5.0)
    assert (site.outcome, site.report.kept, site.agent.config.agent.telemetry_interval_s) == (("kept", ""), "o1", 5.0)


# -- the broker --------------------------------------------------------------------------------------------------------


def test_a_broker_is_kept_once_the_host_has_confirmed_a_report_over_it(site):
    site.order("o1", {"broker_url": THERE})
    site.turn(6.0)
    assert (site.outcome, site.link.place) == (("kept", ""), THERE)
    site.restart()
    assert (site.link.place, site.outcome) == (THERE, ("kept", ""))


def test_a_receipt_that_is_lost_is_made_up_for_by_the_next(site):
    site.lost_receipts = 2
    site.order("o1", {"broker_url": THERE}, trial_s=60.0)
    site.turn(8.0)
    assert site.outcome == ("trial", "")
    site.turn(30.0)
    assert (site.outcome, site.link.place) == (("kept", ""), THERE)


@pytest.mark.parametrize(("url", "code"), [(NOWHERE, "no_connection"), (STRANGE, "not_confirmed")])
def test_a_broker_without_this_host_is_left_again(site, url, code):
    """That somebody takes the connection is not enough: it may be anybody's broker."""
    site.order("o1", {"broker_url": url, "telemetry_interval_s": 5}, trial_s=10.0)
    site.turn(3.0)
    assert site.link.place == url
    site.turn(12.0)
    assert (site.outcome, site.link.place) == (("rolled_back", code), HERE)
    assert site.agent.config.agent.telemetry_interval_s == 60.0, "an order is taken as a whole"
    assert site.told.outcome == "rolled_back"
    assert [each.key for each in site.told.differences] == ["broker_url", "telemetry_interval_s"]


def test_a_receipt_over_the_broker_of_before_proves_nothing_of_the_next(site):
    """It is left a moment after the order, and may well have something to say until then."""
    site.link.reachable -= {NOWHERE}
    site.order("o1", {"broker_url": NOWHERE}, trial_s=10.0)
    site.link.up()
    site._confirm()
    site.turn(15.0)
    assert site.outcome == ("rolled_back", "no_connection")


def test_a_device_that_moves_and_is_back_on_its_old_way_has_not_shown_that_the_new_broker_is_there(site):
    """The host hears it, over another broker than was set."""
    site.order("o1", {"broker_url": NOWHERE}, trial_s=10.0)
    site.turn(1.0)
    site.link.old_way, site.link.connected = HERE, True
    site.hosts.add(NOWHERE)
    site.link.up()
    site.turn(12.0)
    assert site.outcome == ("rolled_back", "no_connection")


def test_a_change_that_has_nothing_to_do_with_the_broker_is_kept_without_one(site):
    site.order("o1", {"telemetry_interval_s": 5})
    site.link.connected = False
    site.turn(5.0)
    assert site.outcome == ("kept", "")


def test_a_newer_order_supersedes_one_on_trial(site):
    site.order("o1", {"broker_url": NOWHERE}, trial_s=60.0)
    site.order("o2", {"telemetry_interval_s": 5}, trial_s=60.0)
    site.turn(5.0)
    assert (site.outcome, site.report.kept, site.link.place) == (("kept", ""), "o2", HERE)
    site.order("o1", {"broker_url": NOWHERE}, trial_s=60.0)
    assert site.keeper.record.trial is None, "it is known, and is not tried again"


def test_an_order_that_was_kept_before_ends_the_trial_of_the_one_after_it(site):
    """A host that was restored from a backup says it again: what is on trial must not be kept under its name."""
    site.order("o1", {"telemetry_interval_s": 5})
    site.turn(5.0)
    site.order("o2", {"telemetry_interval_s": 7})
    site.order("o1", {"telemetry_interval_s": 5})
    site.turn(6.0)
    assert (site.agent.config.agent.telemetry_interval_s, site.outcome, site.report.id) == (5.0, ("kept", ""), "o1")
    assert site.report.differences == ()


def test_a_limit_that_no_runner_keeps_to_is_found_out_before_the_next_start(serving):
    """Else it would be kept while the runner from before serves, and none would at the next start."""
    before = serving.processes.runners[-1]
    serving.starts = False
    serving.order("o1", {"start_timeout_s": 6})
    serving.turn(8.0)
    assert serving.outcome == ("rolled_back", "start_timeout")
    assert (before.killed, serving.agent.config.agent.start_timeout_s) == (False, 60.0)
    serving.starts, serving.answers = True, False
    serving.order("o2", {"hang_s": 3}, trial_s=10.0)
    serving.turn(12.0)
    assert serving.outcome == ("rolled_back", "no_samples"), "an inference of four seconds never ends under it"
    assert serving.agent.status().models["m"].serving


def test_a_newer_order_that_is_refused_ends_the_trial_too(site):
    """Else the host would not know what holds: it goes on from what was kept last."""
    site.order("o1", {"broker_url": NOWHERE}, trial_s=60.0)
    site.order("o2", {"hang_s": 1.5})
    site.turn(1.0)
    assert (site.outcome, site.link.place) == (("refused", "invalid_settings"), HERE)


# -- kills -------------------------------------------------------------------------------------------------------------


def test_a_trial_survives_kills_and_ends_after_so_many_without_a_network(site):
    site.order("o1", {"broker_url": NOWHERE}, trial_s=60.0)
    for _ in range(MAX_ATTEMPTS - 1):
        site.restart()
        assert (site.outcome, site.link.place) == (("trial", ""), NOWHERE)
    site.restart()
    assert (site.outcome, site.link.place) == (("rolled_back", "agent_restarts"), HERE)
    assert site.told.code == "agent_restarts"


def test_a_trial_that_was_cut_goes_on_and_is_kept(site):
    site.order("o1", {"broker_url": THERE})
    site.restart()
    assert site.link.place == THERE
    site.turn(6.0)
    assert site.outcome == ("kept", "")


def test_a_trial_that_was_cut_fails_by_itself_in_the_next_run(site):
    site.order("o1", {"broker_url": NOWHERE}, trial_s=10.0)
    site.restart()
    site.turn(15.0)
    assert (site.outcome, site.link.place) == (("rolled_back", "no_connection"), HERE)


def test_a_start_that_cannot_be_counted_is_one_with_the_values_before(site, tmp_path):
    """A full disk must not make a loop of starts without end."""
    site.order("o1", {"broker_url": NOWHERE}, trial_s=60.0)
    block(tmp_path)
    site.restart()
    assert (site.link.place, site.outcome) == (HERE, ("rolled_back", "disk"))
    unblock(tmp_path)
    site.turn(2.0)
    site.restart()
    assert (site.link.place, site.outcome) == (HERE, ("rolled_back", "disk"))


def test_where_both_copies_are_lost_what_is_desired_is_tried_anew(site, tmp_path):
    site.order("o1", {"telemetry_interval_s": 5})
    site.turn(5.0)
    for name in FILES:
        (tmp_path / "state" / name).write_bytes(b"rotten")
    site.restart()
    assert site.outcome == ("trial", "")
    assert any("is damaged" in issue for issue in site.agent.status().issues)
    site.turn(5.0)
    assert (site.outcome, site.agent.config.agent.telemetry_interval_s) == (("kept", ""), 5.0)
    assert not any("is damaged" in issue for issue in site.agent.status().issues)


def test_a_damaged_copy_is_made_again_at_the_start_and_said_once(site, tmp_path):
    site.order("o1", {"telemetry_interval_s": 5})
    site.turn(5.0)
    (tmp_path / "state" / FILES[1]).write_bytes(b"rotten")
    site.restart()
    assert any("is damaged" in issue for issue in site.agent.status().issues)
    site.restart()
    assert not any("is damaged" in issue for issue in site.agent.status().issues)
    assert (site.outcome, site.agent.config.agent.telemetry_interval_s) == (("kept", ""), 5.0)


def test_on_a_full_disk_nothing_is_begun(site, tmp_path):
    block(tmp_path)
    site.order("o1", {"broker_url": NOWHERE, "telemetry_interval_s": 5})
    assert site.outcome == ("refused", "disk")
    assert site.agent.config.agent.telemetry_interval_s == 60.0
    assert site.link.places == []


def test_what_has_passed_is_kept_as_soon_as_the_disk_takes_it(site, tmp_path):
    site.order("o1", {"telemetry_interval_s": 5})
    block(tmp_path)
    site.turn(6.0)
    assert site.outcome == ("trial", "")
    assert any("cannot be kept" in issue for issue in site.agent.status().issues)
    unblock(tmp_path)
    site.turn(2.0)
    assert site.outcome == ("kept", "")
    assert not any("cannot be kept" in issue for issue in site.agent.status().issues)


def test_a_rollback_happens_also_where_the_disk_takes_nothing(site, tmp_path):
    site.order("o1", {"broker_url": NOWHERE}, trial_s=10.0)
    block(tmp_path)
    site.turn(15.0)
    assert (site.outcome, site.link.place) == (("rolled_back", "no_connection"), HERE)
    unblock(tmp_path)
    site.turn(2.0)
    assert read_settings(tmp_path / "state")[0].trial is None


def block(folder):
    (folder / "state" / f".{FILES[0]}.tmp").mkdir()


def unblock(folder):
    (folder / "state" / f".{FILES[0]}.tmp").rmdir()


# -- models ------------------------------------------------------------------------------------------------------------


def paths(site):
    """The cameras of the runner that serves."""
    return [each.path for each in site.agent.units["m"].current.job.sources]


def test_another_camera_takes_a_new_runner_and_the_one_before_serves_until_then(serving):
    before = serving.processes.runners[-1]
    serving.order("o1", {"models.m.camera": "/dev/video1"})
    serving.turn(10.0)
    assert (serving.outcome, paths(serving)) == (("kept", ""), ["/dev/video1"])
    assert serving.processes.runners[-1] is not before
    assert before.listener.gone, "it has drained and ended"


def test_a_camera_that_is_not_there_is_left_again_with_its_reason(serving):
    serving.order("o1", {"models.m.camera": "/dev/video77"}, trial_s=40.0)
    serving.turn(20.0)
    assert serving.outcome == ("rolled_back", "source_failed")
    assert "/dev/video77" in serving.report.detail
    serving.turn(3.0)
    assert paths(serving) == ["/dev/video0"]
    assert serving.agent.status().models["m"].serving


def test_a_camera_that_opens_and_gives_nothing_is_left_again(serving):
    serving.answers = False
    serving.order("o1", {"models.m.camera": "/dev/video1"}, trial_s=20.0)
    serving.turn(25.0)
    assert serving.outcome == ("rolled_back", "no_samples")


def test_a_camera_that_the_runner_before_holds_for_a_moment_is_no_failure(serving):
    busy = {"/dev/video1"}
    issues = serving.issues_of
    serving.issues_of = lambda job: (
        ("source_failed: camera source is busy",) if job.sources[0].path in busy else issues(job)
    )
    serving.order("o1", {"models.m.camera": "/dev/video1"}, trial_s=40.0)
    serving.turn(6.0)
    assert serving.outcome == ("trial", "")
    busy.clear()
    serving.turn(6.0)
    assert serving.outcome == ("kept", "")


def test_a_candidate_that_is_tried_meanwhile_costs_the_settings_no_time(serving):
    """Their runner cannot be exchanged beside it."""
    unit = serving.agent.units["m"]
    serving.starts = False
    serving.order("o1", {"models.m.camera": "/dev/video1"}, trial_s=10.0)
    rested, unit.record = unit.record, replace(unit.record, state=State.PROBATION)
    serving.turn(30.0)
    assert serving.outcome == ("trial", "")
    unit.record, serving.starts = rested, True
    serving.turn(8.0)
    assert (serving.outcome, paths(serving)) == (("kept", ""), ["/dev/video1"])


def test_what_its_sources_lacked_before_is_not_held_against_another_change(tmp_path):
    site = SettingsSite(tmp_path, {"m": ModelSection(sources=(ReplaySource("77.npz"),), unix="")}, installed=("m",))
    site.turn(2.0)
    site.order("o1", {"models.m.api_values": "raw"}, trial_s=20.0)
    site.turn(10.0)
    assert site.outcome == ("kept", "")


def test_a_runner_that_does_not_start_under_them_never_takes_over(serving):
    before, serving.starts = serving.agent.units["m"].current, False
    serving.order("o1", {"models.m.memory_limit_bytes": 16 << 20})
    serving.processes.runners[-1].listener.exited("oom_killed", "killed for want of memory")
    serving.turn(2.0)
    assert serving.outcome == ("rolled_back", "oom_killed")
    assert serving.agent.units["m"].current is before, "the one before has served all the time"


def test_a_runner_that_dies_under_them_later_is_no_success_either(serving):
    """It is started anew at once, so that nobody who looks each second would see that it was gone."""
    serving.order("o1", {"models.m.memory_limit_bytes": 16 << 20})
    serving.turn(1.0)
    serving.processes.runners[-1].listener.exited("oom_killed", "killed for want of memory")
    serving.turn(4.0)
    assert serving.outcome == ("rolled_back", "oom_killed")
    assert serving.agent.units["m"].current.job.memory_limit_bytes is None
    assert serving.agent.status().models["m"].serving


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as made:
        return made.getsockname()[1]


def test_another_port_is_listened_on_beside_the_old_one_until_it_is_kept(serving):
    port = free_port()
    old = serving.agent.status().http["m"]
    serving.order("o1", {"models.m.http": f"127.0.0.1:{port}"})
    assert listens(old)
    assert listens(f"http://127.0.0.1:{port}")
    serving.turn(10.0)
    assert serving.outcome == ("kept", "")
    assert serving.agent.status().http["m"] == f"http://127.0.0.1:{port}"
    assert not listens(old)


def test_a_port_in_use_is_a_rollback_that_names_who_has_it(serving):
    old = serving.agent.status().http["m"]
    runners = len(serving.processes.runners)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        serving.order("o1", {"models.m.http": f"127.0.0.1:{taken.getsockname()[1]}"})
        serving.turn(1.0)
    assert serving.outcome == ("rolled_back", "port_in_use")
    assert "listens there" in serving.report.detail
    assert (serving.agent.status().http["m"], len(serving.processes.runners)) == (old, runners)
    assert listens(old)


def test_of_two_models_one_whose_port_is_taken_brings_the_other_back_too(tmp_path):
    site = SettingsSite(tmp_path, {"a": ModelSection(unix=""), "b": ModelSection(unix="")}, installed=("a", "b"))
    site.turn(2.0)
    old, runners = site.agent.status().http, len(site.processes.runners)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        site.order("o1", {"models.a.http": f"127.0.0.1:{free_port()}", "models.b.http": f"127.0.0.1:{port}"})
        site.turn(1.0)
    assert site.outcome == ("rolled_back", "port_in_use")
    assert (site.agent.status().http, len(site.processes.runners)) == (old, runners), "no runner was disturbed"
    assert all(listens(url) for url in old.values())


def test_a_model_that_is_removed_during_the_trial_leaves_no_port_behind(serving):
    old, port = serving.agent.status().http["m"], free_port()
    serving.order("o1", {"models.m.http": f"127.0.0.1:{port}"}, trial_s=10.0)
    removed = Desired("dev-1", serving.generation + 1, 1.0, removed=("m",))
    serving.agent.message(DESIRED, signed(envelope.DESIRED, removed))
    serving.turn(15.0)
    assert serving.keeper.record.trial is None
    assert not listens(old)
    assert not listens(f"http://127.0.0.1:{port}")


def test_the_port_that_a_model_has_already_can_be_given_to_it(serving):
    """`auto` has chosen it; nobody can listen there twice."""
    address = serving.agent.status().http["m"].removeprefix("http://")
    serving.order("o1", {"models.m.http": address})
    serving.turn(10.0)
    assert (serving.outcome, serving.agent.status().http["m"]) == (("kept", ""), f"http://{address}")
    assert listens(f"http://{address}")


def test_the_old_port_is_back_when_something_else_of_the_order_fails(serving):
    old = serving.agent.status().http["m"]
    values = {"models.m.http": f"127.0.0.1:{free_port()}", "models.m.camera": "/dev/video77"}
    serving.order("o1", values, trial_s=40.0)
    serving.turn(20.0)
    assert serving.outcome == ("rolled_back", "source_failed")
    assert serving.agent.status().http["m"] == old
    assert listens(old)


def test_after_a_kill_in_a_trial_of_a_port_the_old_one_comes_back(serving):
    old, port = serving.agent.status().http["m"], free_port()
    values = {"models.m.http": f"127.0.0.1:{port}", "models.m.camera": "/dev/video77"}
    serving.order("o1", values, trial_s=40.0)
    close(serving)
    serving.restart()
    serving.turn(20.0)
    assert serving.outcome == ("rolled_back", "source_failed")
    assert serving.agent.status().http["m"] == old
    assert not listens(f"http://127.0.0.1:{port}")


def close(site):
    """As the end of a process does."""
    for each in site.agent.listeners.values():
        each.close_tcp()
    for each in site.keeper._ties.effects._before.values():
        each.close_tcp()


def listens(url):
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
