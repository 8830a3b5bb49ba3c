"""`skerry serve` with identities, and `skerry broker`: what they say, and what they leave unsaid."""

import json
import threading
import time
from contextlib import contextmanager

import pytest

from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import identities
from tests.kit.brokers import Mosquitto
from tests.kit.callers import enrolled
from tests.kit.commands import WITH_IDENTITIES, serving, skerry
from tests.kit.exported_brokers import ExportedMosquitto, two_ports
from tests.kit.home import make_home
from tests.kit.programs import require_program
from tests.kit.waiting import eventually

FREE = ("--port", "0", "--enroll-port", "0", "--old-port", "0", "--no-http")


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path / "home")


def status(home):
    done = skerry(home, "broker", "status", "--json", check=False)
    return done.returncode, json.loads(done.stdout)


def test_status_tries_out_what_is_in_force_and_lists_who_is_denied_and_why(home):
    require_program("mosquitto", "mosquitto")
    with open_registry(home.registry) as registry:
        enrolled(home, registry, "edge-17", time.time())
        with serving(home, WITH_IDENTITIES, *FREE) as plane:
            assert plane.broker.startswith("mqtts://127.0.0.1:")
            eventually(lambda: status(home)[0] == 0, "the rules are in force")
            with registry.write() as session:
                identities.revoke(session, "edge-17", "stolen from the van", time.time())
            eventually(lambda: status(home)[0] == 0, "the revocation is in force", 5.0)
            code, found = status(home)
            assert (code, found["security"], found["holds"]) == (0, "mtls", True)
            assert {each["name"]: each["verdict"] for each in found["listeners"]} == {
                "operation": "in_force",
                "enrolment": "in_force",
            }
            assert [(each["name"], each["reason"]) for each in found["denied"]] == [("edge-17", "stolen from the van")]
            assert "stolen from the van" in skerry(home, "broker", "status").stdout
            plane.stop()
    code, found = status(home)
    assert (code, "is `skerry serve` running?" in found["line"]) == (1, True)


def test_a_broker_without_identities_is_said_to_deny_nobody(home):
    require_program("mosquitto", "mosquitto")
    with serving(home, "--port", "0", "--no-http"):
        code, found = status(home)
    assert (code, found["listeners"]) == (1, [])
    assert "--plain" in found["line"]


def test_a_broker_whose_rules_somebody_else_writes_is_said_to_be_one(home, tmp_path):
    with (
        Mosquitto(tmp_path / "broker") as theirs,
        serving(home, "--broker", f"mqtt://127.0.0.1:{theirs.port}", "--no-http"),
    ):
        code, found = status(home)
    assert (code, found["listeners"]) == (1, [])
    assert "`skerry broker export`" in found["line"]


def test_serve_json_names_listeners_and_no_secret(home):
    """Case T7 of the threat table: the broker's part."""
    require_program("mosquitto", "mosquitto")
    with serving(home, WITH_IDENTITIES, *FREE, "--listen", "auto") as plane:
        said = json.loads((home.root / "serve.json").read_text())
        assert (said["broker"], said["security"]) == (plane.broker, "mtls")
        assert said["enrolment"].startswith("mqtts://")
        password = (home.broker / "password").read_text().strip()
        plane.stop()
    for name in ("serve.json", "serve.log"):
        text = (home.root / name).read_text()
        assert password not in text
        assert "PRIVATE KEY" not in text


@pytest.mark.parametrize("kind", ["mosquitto", "rabbitmq", "nats"])
def test_export_writes_a_folder_and_says_how_to_serve_over_it(home, tmp_path, kind):
    out = tmp_path / "for-the-broker"
    said = json.loads(
        skerry(home, "broker", "export", kind, "--out", str(out), "--name", "broker.lan", "--json").stdout
    )
    assert {path.name for path in out.iterdir()} == set(said["files"])
    assert "--broker mqtts://broker.lan:8883" in said["serve"]
    assert (out / "server.pem").stat().st_mode & 0o077 == 0
    keys = [path.name for path in out.iterdir() if "PRIVATE KEY" in path.read_text()]
    assert keys == ["server.pem"], "the authority's keys and the plane's stay at home"


def test_serve_keeps_exported_rules_up_to_date_and_status_says_when_the_broker_has_taken_them(home, tmp_path):
    """Case I6 of the threat table, with a mosquitto that is a service: until it reloads, nothing is claimed."""
    out, ports = tmp_path / "exported", two_ports()
    where = ("--out", str(out), "--port", str(ports[0]), "--enroll-port", str(ports[1]), "--name", "127.0.0.1")
    said = json.loads(skerry(home, "broker", "export", "mosquitto", *where, "--json").stdout)
    with open_registry(home.registry) as registry, ExportedMosquitto(out, ports) as theirs, path_unit(theirs) as unit:
        enrolled(home, registry, "edge-17", time.time())
        with serving(home, *said["serve"].split()[2:], "--no-http"):
            eventually(lambda: status(home)[0] == 0, "the rules are in force")
            unit.clear()
            with registry.write() as session:
                identities.revoke(session, "edge-17", "stolen", time.time())
            eventually(lambda: b"user edge-17" in (out / "operation.acl").read_bytes(), "the rules are written")
            code, found = status(home)
            assert (code, found["holds"]) == (1, False)
            assert "not yet in force" in found["line"]
            unit.set()
            eventually(lambda: status(home)[0] == 0, "it is in force")


@contextmanager
def path_unit(broker):
    """What systemd does with the exported units: has the broker reload when the label changes, while it is set."""
    enabled, ending, label = threading.Event(), threading.Event(), broker.folder / "rules.label"
    enabled.set()

    def watch():
        seen = ""
        while not ending.wait(0.1):
            if enabled.is_set() and label.read_text() != seen:
                seen = label.read_text()
                broker.reload()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield enabled
    finally:
        ending.set()
        thread.join()


def test_export_for_another_broker_is_refused_in_one_line(home, tmp_path):
    refused = skerry(home, "broker", "export", "amqtt", "--out", str(tmp_path / "x"), "--name", "h", check=False)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert not (tmp_path / "x").exists()


def test_without_mosquitto_serve_says_what_to_do(home, tmp_path, monkeypatch):
    monkeypatch.setattr("skerry_host.plane.broker.broker.find_mosquitto", lambda: None)
    refused = skerry(home, "serve", *FREE, check=False)
    assert (refused.returncode, "--plain" in refused.stderr, len(refused.stderr.splitlines())) == (1, True, 1)
