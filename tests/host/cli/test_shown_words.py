"""The terminal and the page show words for codes, the same ones; JSON and the registry keep the codes."""

import json

import pytest
from starlette.testclient import TestClient

from skerry_agent.wire import codec
from skerry_agent.wire.twin import DeploymentReport, ModelReport, Reported
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import rollouts, twins
from skerry_host.plane.views.counters import Counters
from skerry_host.plane.web.app import application
from tests.kit.commands import skerry
from tests.kit.home import add_release, make_home, model_bytes

CODE, WORDS = "too_much_in_vain", "transfer overrun"
STATE = "rolling_back"
WAYS, TRANSPORTS = "retained, asked", "MQTT retained, MQTT on request"


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """A home with a deployment that failed, and the id of its rollout."""
    folder = tmp_path_factory.mktemp("words")
    home = make_home(folder / "home")
    add_release(home, "1.0.0", model_bytes("a", 1000))
    options = ("--board", "generic-x86", "--broker", "mqtt://h", "--config-only", "--out", str(folder / "d"))
    skerry(home, "device", "provision", "dev-1", *options)
    started = json.loads(skerry(home, "rollout", "start", "fashion@1.0.0", "--device", "dev-1", "--json").stdout)
    with open_registry(home.registry) as opened, opened.write() as session:
        (row,) = rollouts.deployments(session, started["rollout"])
        report = DeploymentReport(
            row.id, row.release, "rolling_back", "failed", CODE, "20 pieces", transports=("retained", "asked")
        )
        rollouts.apply_report(session, "dev-1", report, 1.0)
        models = {"fashion": ModelReport(STATE, serving=False, deployment=report)}
        issues = (f"fashion is not served: {CODE}: 20 pieces",)
        twin = Reported("dev-1", "boot", 1, 0, "0.1.0", "generic-x86", ("cpu",), models, issues)
        twins.accept_reported(session, twin, codec.encode(twin), 1.0)
    return home, started["rollout"]


def test_rollout_status(failed):
    home, rollout = failed
    shown = skerry(home, "rollout", "status", rollout).stdout
    assert all(words in shown for words in (f"{WORDS}: 20 pieces", TRANSPORTS, "transport", "rolling back"))
    assert CODE not in shown
    (deployment,) = json.loads(skerry(home, "rollout", "status", rollout, "--json").stdout)["deployments"]
    assert (deployment["reason"], deployment["ways"], deployment["state"]) == (CODE, WAYS, "rolling_back")


def test_device_show_and_list(failed):
    home, _ = failed
    shown = skerry(home, "device", "show", "dev-1").stdout
    assert f"failed: {WORDS} (0 B by {TRANSPORTS})" in shown
    assert f"issue: fashion is not served: {WORDS}: 20 pieces" in shown
    assert CODE not in shown
    assert "rolling back" in skerry(home, "device", "list").stdout
    data = json.loads(skerry(home, "device", "show", "dev-1", "--json").stdout)
    assert (data["deployments"][0]["reason"], data["device"]["models"][0]["reason"]) == (CODE, CODE)


def test_monitor(failed):
    home, _ = failed
    assert "rolling back" in skerry(home, "monitor", "--once").stdout
    models = json.loads(skerry(home, "monitor", "--json").stdout)["devices"][0]["models"]
    assert models[0]["state"] == "rolling_back"


def test_pages(failed):
    home, rollout = failed
    with (
        open_registry(home.registry) as opened,
        TestClient(application(opened, lambda: Counters({}, 0, 0, True)), "http://127.0.0.1") as client,
    ):
        for path in ("/", "/devices/dev-1", f"/rollouts/{rollout}"):
            page = client.get(path).text
            assert WORDS in page
            assert CODE not in page


def test_a_device_with_hundreds_of_issues_does_not_scroll_the_others_away(tmp_path):
    home = make_home(tmp_path / "home")
    skerry(home, "device", "provision", "dev-1", "--board", "generic-x86", "--broker", "mqtt://h")
    twin = Reported("dev-1", "boot", 1, 0, "0.1.0", "generic-x86", ("cpu",), {}, tuple(f"no {n}" for n in range(200)))
    with open_registry(home.registry) as opened, opened.write() as session:
        twins.accept_reported(session, twin, codec.encode(twin), 1.0)
    shown = skerry(home, "device", "show", "dev-1").stdout
    assert shown.count("issue: ") == 20
    assert "and 180 more issues: `skerry device show dev-1 --json`" in shown
