"""agent.toml with what is set from afar over it: never more than fits, and the file keeps the last word."""

import pytest
from msgspec.structs import replace

from skerry_agent import overlay
from skerry_agent.config import (
    AgentConfig,
    AgentSection,
    BoardSection,
    BrokerSection,
    ConfigError,
    DeviceSection,
    EnrolmentSection,
)
from skerry_agent.config import ModelSection as Model
from skerry_agent.machine import settings as machine
from skerry_agent.machine.settings import Overlay, SettingsRecord
from skerry_agent.ports.runner_protocol import CameraSource, ReplaySource
from skerry_agent.state.disk import make_folder
from skerry_agent.state.settings import write_settings
from skerry_agent.wire.settings import SettingsOrder

TOML = '[device]\nid = "dev-1"\n[broker]\nurl = "mqtt://here"\n[board]\nname = "test"\n[agent]\n[models.m]\n'


def own(folder="/etc/skerry", models=None, **agent):
    sections = DeviceSection("dev-1"), BrokerSection("mqtt://here"), BoardSection("test"), AgentSection(**agent)
    return AgentConfig(*sections, models=models or {}, folder=str(folder))


def test_what_is_set_stands_in_the_place_of_the_files_and_nothing_else_changes():
    before = own(models={"m": Model(results_files=2)})
    after = overlay.overlaid(before, {"hang_s": 20, "broker_url": "mqtt://there", "models.m.api_values": "raw"})
    assert (after.agent.hang_s, after.broker.url) == (20.0, "mqtt://there")
    assert (after.models["m"].api_values, after.models["m"].results_files) == ("raw", 2)
    assert after.own is before
    assert overlay.changed_keys(before, after) == {"hang_s", "broker_url", "models.m.api_values"}


def test_a_file_with_nothing_set_is_the_file():
    before = own()
    assert overlay.overlaid(before, {}) is before
    assert overlay.effective(before, Overlay()) is before


@pytest.mark.parametrize(
    ("sources", "then"),
    [
        ((), (CameraSource("/dev/video1"),)),
        ((CameraSource("/dev/video0", 5.0, 640, 480),), (CameraSource("/dev/video1", 5.0, 640, 480),)),
        ((ReplaySource("x.npz"),), (ReplaySource("x.npz"), CameraSource("/dev/video1"))),
    ],
)
def test_a_camera_is_the_path_of_the_one_that_there_is_or_one_more(sources, then):
    after = overlay.overlaid(own(models={"m": Model(sources=sources)}), {"models.m.camera": "/dev/video1"})
    assert after.models["m"].sources == then


def test_a_camera_goes_over_the_sources_that_are_set_with_it():
    sources = [{"type": "camera", "path": "/dev/video0", "rate_hz": 2}]
    values = {"models.m.sources": sources, "models.m.camera": "/dev/video1"}
    assert overlay.overlaid(own(), values).models["m"].sources == (CameraSource("/dev/video1", 2.0),)


def test_what_no_longer_fits_the_file_is_left_out_with_an_issue_and_the_rest_stays():
    """Somebody has edited agent.toml on the board since it was set."""
    kept = Overlay("o1", {"hang_s": 3, "telemetry_interval_s": 5})
    assert overlay.effective(own(), kept).agent.hang_s == 3.0
    after = overlay.effective(own(beat_s=2.0), kept)
    assert (after.agent.hang_s, after.agent.telemetry_interval_s) == (10.0, 5.0)
    assert "left out: agent.hang_s" in after.issue


def test_a_damaged_overlay_costs_itself_and_never_the_start():
    after = overlay.effective(own(), Overlay("o1", {"nonsense": 1, "hang_s": "x", "metered": True}))
    assert after.agent.metered
    assert "nonsense" in after.issue


def test_where_the_host_has_moved_the_device_since_the_broker_of_before_is_not_meant():
    """Its host's offer says where the broker is now; what was set before was of another."""
    moved = replace(own(), before=BrokerSection("mqtt://old"))
    kept = Overlay("o1", {"broker_url": "mqtt://there", "metered": True})
    after = overlay.effective(moved, kept)
    assert (after.broker.url, after.agent.metered) == ("mqtt://here", True)
    assert overlay.effective(moved, replace(kept, moved=True)).broker.url == "mqtt://there"


def test_the_user_and_password_of_the_file_go_along_to_another_broker_and_are_never_shown():
    before = replace(own(), broker=BrokerSection("mqtt://edge:hunter2@here"))
    after = overlay.overlaid(before, {"broker_url": "mqtt://there:1884"})
    assert after.broker.url == "mqtt://edge:hunter2@there:1884"
    assert overlay.value_of(before, "broker_url") == "mqtt://here"
    assert overlay.value_of(after, "broker_url") == "mqtt://there:1884"


def test_a_device_that_enrols_is_set_no_broker_without_tls():
    config = replace(own(), device=DeviceSection(), broker=BrokerSection("mqtts://here", ca_file="ca.pem"))
    config = replace(config, enrolment=EnrolmentSection("mqtts://here:8884"))
    with pytest.raises(ConfigError, match="needs mqtts"):
        overlay.overlaid(config, {"broker_url": "mqtt://there"})
    assert overlay.overlaid(config, {"broker_url": "mqtts://there"}).broker.url == "mqtts://there"


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("results.jsonl", True),
        ("/run/skerry/results.jsonl", True),
        ("/etc/skerry/state/results/m.jsonl", True),
        ("state/results/m.jsonl", True),
        ("state/trust.json", False),
        ("state/models/m/journal.json", False),
        ("state", False),
        ("state/results/../journal.json", False),
        ("/etc/skerry/../skerry/state/x", False),
    ],
)
def test_results_are_written_over_nothing_that_the_agent_keeps(path, may):
    values = {"models.m.results_file": path}
    if may:
        assert overlay.overlaid(own(), values).results_file("m")
    else:
        with pytest.raises(ConfigError, match=r"only .*/results is for results"):
            overlay.overlaid(own(), values)


def test_a_link_in_the_results_folder_leads_nowhere_else(tmp_path):
    make_folder(tmp_path / "state" / "results")
    (tmp_path / "state" / "results" / "m").symlink_to(tmp_path / "state")
    with pytest.raises(ConfigError):
        overlay.overlaid(own(tmp_path), {"models.m.results_file": "state/results/m/journal.json"})


def test_every_command_on_the_device_goes_by_what_is_set(tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text(TOML)
    assert overlay.load(file).agent.hang_s == 10.0
    make_folder(tmp_path / "state")
    order = SettingsOrder("o1", {"hang_s": 20})
    write_settings(tmp_path / "state", machine.proven(machine.ordered(SettingsRecord(), order, moved=False)))
    assert overlay.load(file).agent.hang_s == 20.0
    file.write_text(TOML.replace("[agent]", '[agent]\nkeeps = ["hang_s"]'))
    assert overlay.load(file).agent.hang_s == 10.0


def test_a_key_to_keep_that_nobody_could_set_is_an_issue_and_no_error(tmp_path):
    """It may be known to another version of the agent; the board must start with this one."""
    file = tmp_path / "agent.toml"
    file.write_text(TOML.replace("[agent]", '[agent]\nkeeps = ["meterd", "models.m", "metered"]'))
    config = overlay.load(file)
    assert config.issue.endswith("unknown keys, ignored: meterd in agent.keeps")
