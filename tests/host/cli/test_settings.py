"""`skerry device|group set | unset | settings`: what they say, and to whom it is ordered."""

import json

import pytest
from starlette.testclient import TestClient

from skerry_agent.wire import codec
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.settings import NEWEST, Difference, SettingsReport
from skerry_agent.wire.twin import ModelReport
from skerry_host.fleet.device import Device
from skerry_host.plane.broker.link import Incoming
from skerry_host.plane.ingest.ingest import Ingest
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import devices, settings
from skerry_host.plane.rollouts.director import Director
from skerry_host.plane.rollouts.settings import sign_settings
from skerry_host.plane.views.counters import Counters
from skerry_host.plane.web.app import application
from skerry_host.release import keys
from skerry_host.release.store import Store
from tests.kit.commands import skerry
from tests.kit.device import DirectPort, FakeDevice
from tests.kit.home import make_home

KNOWS = SettingsReport(schema=NEWEST)


class Lab:
    """Two devices that know settings, one whose agent does not, and one that was never heard."""

    def __init__(self, folder):
        self.home = make_home(folder)
        self.devices = {}
        with open_registry(self.home.registry) as registry, registry.write() as session:
            for name in ("lab-1", "lab-2", "lab-old", "lab-new"):
                devices.add(session, Device(name, "generic-x86", frozenset({"lab"}), ("cpu",)), 1.0)
            devices.add_group(session, "lab", "tag:lab", 1.0)
            devices.add_group(session, "old", "id=lab-old", 1.0)
            devices.add_group(session, "nobody", "tag:none", 1.0)
        for name, report in {"lab-1": KNOWS, "lab-2": KNOWS, "lab-old": None}.items():
            self.says(name, report)

    def says(self, name, report):
        with open_registry(self.home.registry) as registry:
            ingest = Ingest(registry, lambda: 2.0)
            device = FakeDevice(name, DirectPort(lambda topic, raw: ingest.apply([Incoming(topic, raw)])))
            device.kept.models["fashion"] = ModelReport("idle", serving=True)
            device.kept.settings = report
            device.connect()

    def run(self, *arguments):
        return skerry(self.home, *arguments, check=False)

    def shown(self, device):
        return json.loads(self.run("device", "settings", device, "--json").stdout)["settings"]

    def newest(self, device):
        with open_registry(self.home.registry) as registry, registry.read() as session:
            return settings.find(session, device).newest

    def sign(self):
        with open_registry(self.home.registry) as registry:
            director = Director(keys.load(self.home.keys, "director"), Store(self.home.store), lambda: 3.0)
            assert sign_settings(registry, director, 3.0)


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path / "home")


def test_a_group_is_set_and_who_cannot_be_is_listed(lab):
    done = lab.run("group", "set", "lab", "telemetry_interval_s=30")
    assert done.returncode == 3
    assert "telemetry_interval_s=30 ordered for 3 of 4 devices (group lab)" in done.stdout
    assert "not ordered for lab-old: its agent fake 1.0 knows no settings; install a newer skerry-agent" in done.stdout
    assert lab.newest("lab-1").values == lab.newest("lab-new").values == {"telemetry_interval_s": 30}


def test_a_setting_that_no_device_of_the_group_knows(lab):
    done = lab.run("group", "set", "lab", "telemetry_intervall_s=30")
    assert (done.returncode, done.stdout) == (2, "")
    assert "none of the 4 devices of group lab knows the setting 'telemetry_intervall_s'" in done.stderr
    assert "did you mean telemetry_interval_s?" in done.stderr
    done = lab.run("group", "set", "old", "hang_s=20")
    assert (done.returncode, "lab-old" in done.stderr or "its agent" in done.stderr) == (2, True)


def test_a_model_that_no_device_of_the_group_has(lab):
    done = lab.run("group", "set", "lab", "models.nosuch.camera=/dev/video1")
    assert done.returncode == 3, "one was never heard, and may have it"
    assert done.stdout.count("it has no model nosuch; it has fashion") == 2
    done = lab.run("device", "set", "lab-1", "models.nosuch.camera=/dev/video1")
    assert (done.returncode, "it has no model nosuch" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("device", "set", "lab-1", "telemetry_interval_s=often"), '"often" is not seconds from 1 to 86400'),
        (("device", "set", "lab-1", "time_zone=Europe/Berln"), "there is no 'Europe/Berln'"),
        (("device", "set", "nobody-1", "hang_s=20"), "there is no device"),
        (("group", "set", "nobody", "hang_s=20"), "selects no devices"),
        (("group", "set", "nogroup", "hang_s=20"), "there is no group"),
        (("device", "unset", "lab-1", "hang_s"), "hang_s is not set there"),
        (("device", "unset", "lab-1", "hang"), "does not know the setting 'hang'"),
        (("device", "set", "lab-1", "hang_s=20", "--trial", "1"), "--trial"),
    ],
)
def test_a_mistake_is_one_line_and_orders_nothing(lab, arguments, words):
    done = lab.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    line = " ".join(done.stderr.split())
    assert words in line
    assert lab.shown("lab-1")["outcome"] == ""


def test_wanted_running_and_the_difference(lab):
    lab.says("lab-1", SettingsReport(schema=NEWEST, keeps=("metered",)))
    done = lab.run("device", "set", "lab-1", "telemetry_interval_s=30", "metered=true", "hang_s=20")
    assert "lab-1 keeps metered for itself (agent.toml)" in done.stdout
    assert lab.shown("lab-1")["outcome"] == "waiting"
    lab.sign()
    assert lab.shown("lab-1")["outcome"] == "sent"
    differences = (Difference("metered", "true", "false", "kept_here"),)
    newest = lab.newest("lab-1").id
    lab.says("lab-1", SettingsReport(newest, "kept", "", "", differences, ("metered",), NEWEST, newest))
    shown = lab.shown("lab-1")
    assert (shown["outcome"], shown["keeps"]) == ("kept", ["metered"])
    lines = {line["key"]: (line["wanted"], line["running"], line["differs"]) for line in shown["lines"]}
    assert lines == {
        "hang_s": ("20", "20", False),
        "metered": ("true", "false", True),
        "telemetry_interval_s": ("30", "30", False),
    }
    text = lab.run("device", "settings", "lab-1").stdout
    assert "device lab-1: kept" in text
    assert "kept by the board for itself" in text
    assert "settings from afar: kept, 1 differ" in lab.run("device", "show", "lab-1").stdout
    listed = lab.run("group", "settings", "lab").stdout
    assert "unknown to its agent" in listed
    page = client(lab).get("/devices/lab-1").text
    assert all(word in page for word in ("telemetry_interval_s", "kept by the board for itself", "hang_s"))
    assert client(lab).get("/api/v1/devices/lab-1").json()["device"]["settings"] == shown


def test_what_came_back_is_shown_with_its_reason(lab):
    lab.run("device", "set", "lab-1", "broker_url=mqtts://nowhere:8883")
    lab.sign()
    differences = (Difference("broker_url", "mqtts://nowhere:8883", "mqtts://host:8883"),)
    newest = lab.newest("lab-1").id
    report = SettingsReport(newest, "rolled_back", "no_connection", "nothing answers", differences, (), NEWEST)
    lab.says("lab-1", report)
    text = lab.run("device", "settings", "lab-1").stdout
    assert "rolled back: no connection to the broker: nothing answers" in text
    assert "mqtts://host:8883" in text
    events = lab.run("event", "list").stdout
    assert "settings rolled back" in events
    assert "settings ordered" in events
    assert "rolled back" in client(lab).get("/devices/lab-1").text


def test_what_a_device_says_of_its_settings_is_text(lab):
    lab.run("device", "set", "lab-1", "hang_s=20")
    lab.sign()
    evil = "\x1b]0;x\x07<script>alert(1)</script>\u202e"
    newest = lab.newest("lab-1").id
    differences = (Difference(evil, evil, evil, evil), Difference("hang_s", "20", evil, "why"))
    lab.says("lab-1", SettingsReport(newest, "rolled_back", evil, evil, differences, (evil,), NEWEST))
    for command in (("device", "settings", "lab-1"), ("device", "show", "lab-1"), ("group", "settings", "lab")):
        said = lab.run(*command).stdout
        assert "\x1b" not in said
        assert "\u202e" not in said
    assert "<script>alert" not in client(lab).get("/devices/lab-1").text


def test_a_device_can_say_no_value_but_a_short_text(lab):
    """Values that are nested without end would end whoever cleans or shows them."""
    lab.run("device", "set", "lab-1", "hang_s=20")
    lab.sign()
    said = {"id": lab.newest("lab-1").id, "outcome": "kept", "differences": [{"key": "hang_s", "running": [[1]]}]}
    with pytest.raises(WireError):
        codec.decode(codec.encode(said), SettingsReport)
    said["differences"] = [{"key": "hang_s", "running": "x" * 3000}]
    with pytest.raises(WireError):
        codec.decode(codec.encode(said), SettingsReport)


def client(lab):
    registry = open_registry(lab.home.registry)
    return TestClient(application(registry, lambda: Counters({}, 0, 1, True)), "http://127.0.0.1")
