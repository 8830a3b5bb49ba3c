"""The command line: what it prints, what it exits with, and that a mistake is one line."""

import json
import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from skerry_agent.cli.security import security_of
from skerry_agent.config import load
from skerry_host.boards import list_boards, load_board
from skerry_host.home import Home
from tests.kit.commands import skerry
from tests.kit.home import add_release, make_home, model_bytes
from tests.kit.programs import ROOT


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path / "home")


def provision(home, name, *options):
    return skerry(home, "device", "provision", name, "--board", "generic-x86", *options)


def said(home, *arguments):
    return json.loads(skerry(home, *arguments, "--json").stdout)


def test_help_is_quick_because_it_loads_nothing_heavy():
    code = (
        "import sys; from skerry_host.cli.main import run; run(['--help']);"
        "heavy = {'sqlalchemy', 'rich', 'numpy', 'alembic', 'starlette', 'paho'} & set(sys.modules);"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/host:{ROOT}/agent"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    for command in (
        "init",
        "serve",
        "doctor",
        "model",
        "release",
        "delta",
        "device",
        "group",
        "rollout",
        "rollback",
        "monitor",
    ):
        assert f"  {command} " in done.stdout


PROVISION = ["device", "provision", "--board", "generic-x86"]
MISTAKES = {
    "no such command": (["nope"], 2, "No such command 'nope'"),
    "a missing argument": (["rollout", "start"], 2, "Missing argument 'RELEASE'"),
    "a bad id": ([*PROVISION, "Shelf_1"], 2, "use 3 to 41 characters of a-z, 0-9 and -"),
    "an unknown board": (["device", "provision", "abc", "--board", "x"], 2, "there is no board 'x'; known boards: "),
    "a bad tag": ([*PROVISION, "abc", "--tag", "a b"], 2, "tag 'a b' is not usable"),
    "a bad broker": ([*PROVISION, "abc", "--broker", "x"], 2, "broker address 'x'"),
    "an unknown device": (["device", "show", "abc"], 2, "there is no device 'abc'"),
    "an unknown group": (["group", "show", "abc"], 2, "there is no group 'abc'"),
    "a bad selection": (["group", "create", "lab", "--where", "borad=x"], 2, "does not parse at character 1"),
    "a bad group name": (["group", "create", "A b", "--where", "all"], 2, "group name 'A b' is not usable"),
    "an unknown release": (["rollout", "start", "fashion@9.9.9", "--device", "abc"], 2, "no release fashion@9.9.9"),
    "no release name": (["rollout", "start", "fashion", "--device", "abc"], 2, "use MODEL@MAJOR.MINOR.PATCH"),
    "an unknown rollout": (["rollout", "status", "abc"], 2, "there is no rollout 'abc'"),
    "an abort of nothing": (["rollout", "abort", "abc"], 2, "there is no rollout 'abc'"),
    "a rollback of nobody": (["rollback"], 2, "give either --group or --device"),
    "a time to keep that is none": (["serve", "--keep", "soon,1h=1d"], 2, "'soon' is no length of time"),
    "tiers that do not fit": (["serve", "--keep", "1d,10m=1d,15m=2d"], 2, "these tiers of telemetry cannot be kept"),
    "a registry that is none": (["--registry", "nonsense", "device", "list"], 2, "write postgresql://USER"),
    "a registry at a relative path": (["--registry", "sqlite:///r.db", "device", "list"], 2, "or sqlite:////ABSOLUTE"),
    "a registry that is not there": (
        ["--registry", "sqlite:////tmp/no-such-registry", "device", "list"],
        2,
        "there is no registry at sqlite:////tmp/no-such-registry; `skerry init --registry",
    ),
    "a registry without a database": (["init", "--registry", "postgresql://host"], 2, "'postgresql://host' is no reg"),
    "a registry of another kind": (["serve", "--registry", "mysql://u:pw@h/db"], 2, "'mysql://u:***@h/db' is no reg"),
    "to listen everywhere": (["serve", "--listen", "0.0.0.0"], 2, "devices on other machines cannot call that"),
    "to listen at another's address": (["serve", "--listen", "203.0.113.9"], 2, "this machine has no such address"),
    "to listen at a name": (["serve", "--listen", "localhost"], 2, "'localhost' is no IPv4 address"),
    "to open another's broker": (["serve", "--listen", "auto", "--broker", "mqtt://h:1"], 2, "give it or --broker"),
    "blobs at no address": (["serve", "--blobs-url", "http://[abc"], 2, "'http://[abc' is not a usable URL"),
    "blobs by another way": (["serve", "--blobs-url", "ftp://x/y"], 2, "write http://HOST[:PORT][/PATH]"),
    "brackets around no address": (["serve", "--blobs-url", "http://[1:2]/b"], 2, "'http://[1:2]/b' is not a"),
    "a rollback of both": (["rollback", "--group", "g", "--device", "d"], 2, "give either --group or --device"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "line"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(home, arguments, code, line):
    done = skerry(home, *arguments, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_without_a_home_it_says_what_to_do(tmp_path):
    done = skerry(Home(tmp_path / "none"), "device", "list", check=False)
    assert done.returncode == 2
    assert "is not a Skerry home; run `skerry init`" in done.stderr
    assert not (tmp_path / "none").exists()


def test_init_twice_keeps_the_keys(tmp_path):
    home = Home(tmp_path / "home")
    skerry(home, "init")
    before = (home.keys / "director.pem").read_bytes()
    assert said(home, "init") == {"home": str(home.root), "registry": str(home.registry)}
    assert (home.keys / "director.pem").read_bytes() == before


@pytest.mark.parametrize("board", list_boards())
def test_the_agent_reads_what_provision_writes(home, board):
    url = "mqtts://ann:s%40cret@broker.example:8884"
    told = skerry(home, "device", "provision", "dev-1", "--board", board, "--broker", url)
    config = load(home.devices / "dev-1" / "agent.toml")
    assert (config.device.id, config.board.name) == ("dev-1", board)
    assert config.broker.url == "mqtts://broker.example:8884"
    assert security_of(config).credentials(config.broker_address) == ("ann", "s@cret")
    assert "see the password in --broker" in told.stderr
    assert config.board.power is not None
    assert config.board.power.source
    assert config.board.power.accelerator_w == load_board(board).power.accelerator_w


@pytest.mark.parametrize(("port", "taken"), [("18830", "18830"), ("0", "8883"), (None, "8883")])
def test_before_the_first_serve_a_device_is_told_the_port_that_serve_will_take(home, monkeypatch, port, taken):
    if port is not None:
        monkeypatch.setenv("SKERRY_TLS_PORT", port)
    provision(home, "dev-1")
    assert load(home.devices / "dev-1" / "agent.toml").broker.url == f"mqtts://127.0.0.1:{taken}"


def test_provision_writes_the_trusted_keys_and_hides_the_password(home):
    provision(home, "dev-1", "--tag", "lab")
    folder = home.devices / "dev-1"
    trust = json.loads((folder / "trust.json").read_text())
    assert set(trust) == {"release", "director"}
    assert stat.S_IMODE((folder / "agent.toml").stat().st_mode) == 0o600
    assert tomllib.loads((folder / "agent.toml").read_text())["broker"]["url"] == "mqtts://127.0.0.1:8883"
    assert said(home, "device", "list")[0]["tags"] == ["lab"]


def test_a_broker_that_only_this_machine_can_call_is_said_to_be_one(home):
    assert "`skerry serve --listen auto`" in provision(home, "dev-1").stderr
    assert provision(home, "dev-2", "--broker", "mqtt://192.0.2.7:1883").stderr == ""


def test_provision_says_how_to_go_on_and_hides_the_password(home):
    told = provision(home, "dev-1", "--broker", "mqtt://ann:secret@192.0.2.7:1883").stdout
    assert "pip install './agent[litert,onnx]'" in told
    assert "mqtt://192.0.2.7:1883" in told
    assert "secret" not in told


def test_a_group_without_a_command_shows_its_help():
    done = skerry(Home(Path("none")), "device", check=False)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("Usage: skerry device ")


def test_provision_elsewhere_and_twice(home, tmp_path):
    assert (
        said(
            home,
            "device",
            "provision",
            "dev-1",
            "--board",
            "generic-x86",
            "--config-only",
            "--out",
            str(tmp_path / "usb"),
        )["id"]
        == "dev-1"
    )
    assert (tmp_path / "usb" / "agent.toml").exists()
    again = skerry(home, "device", "provision", "dev-1", "--board", "generic-x86", check=False)
    assert "dev-1 is already enrolled" in again.stderr
    assert not (home.devices / "dev-1").exists()


def test_what_cannot_be_written_is_not_enrolled(home, tmp_path):
    (tmp_path / "file").write_text("")
    done = skerry(
        home,
        "device",
        "provision",
        "dev-1",
        "--board",
        "generic-x86",
        "--config-only",
        "--out",
        str(tmp_path / "file" / "x"),
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot write {tmp_path}/file/x: Not a directory; ")
    assert said(home, "device", "list") == []


def test_groups_follow_the_devices(home):
    provision(home, "dev-1", "--tag", "lab")
    assert said(home, "group", "create", "lab", "--where", "tag:lab")["devices"] == ["dev-1"]
    provision(home, "dev-2", "--tag", "lab")
    assert said(home, "group", "show", "lab")["devices"] == ["dev-1", "dev-2"]
    assert said(home, "group", "list") == [{"name": "lab", "where": "tag:lab", "devices": 2}]
    assert "already exists" in skerry(home, "group", "create", "lab", "--where", "all", check=False).stderr


def test_a_rollout_is_kept_until_something_serves(home):
    add_release(home, "1.0.0", model_bytes("m", 5000))
    provision(home, "dev-1")
    started = said(home, "rollout", "start", "fashion@1.0.0", "--device", "dev-1", "--device", "dev-1")
    assert started["devices"] == ["dev-1"]
    view = said(home, "rollout", "status", started["rollout"][:12])
    assert (view["state"], view["deployments"][0]["state"], view["deployments"][0]["full_bytes"]) == (
        "pending",
        "waiting",
        5015,
    )
    skerry(home, "rollout", "abort", started["rollout"])
    assert [row["state"] for row in said(home, "rollout", "status")] == ["aborting"]


def test_a_plan_says_what_each_device_would_fetch_and_starts_nothing(home):
    add_release(home, "1.0.0", model_bytes("m", 5000))
    provision(home, "dev-1")
    (row,) = said(home, "rollout", "plan", "fashion@1.0.0", "--device", "dev-1")
    assert row == {
        "device": "dev-1",
        "target": "cpu",
        "holds": None,
        "path": "full",
        "bytes_expected": 5015,
        "full_bytes": 5015,
        "meanwhile": "",
        "unknown": [],
        "runtime": "",
        "runtime_bytes": 0,
        "rollback": "",
    }
    assert said(home, "rollout", "status") == []


def test_a_rollout_needs_devices_that_can_run_it(home):
    add_release(home, "1.0.0", model_bytes("m", 5000))
    skerry(home, "group", "create", "nobody", "--where", "tag:none")
    done = skerry(home, "rollout", "start", "fashion@1.0.0", "--group", "nobody", check=False)
    assert (done.returncode, "group nobody selects no devices" in done.stderr) == (2, True)
    assert said(home, "rollout", "status") == []


def test_a_device_that_never_ran_anything_has_nothing_to_go_back_to(home):
    provision(home, "dev-1")
    done = skerry(home, "rollback", "--device", "dev-1", check=False)
    assert (done.returncode, "has no release to go back to" in done.stderr) == (2, True)


def test_lists_and_cards_for_people(home):
    provision(home, "dev-1", "--tag", "lab")
    assert "dev-1" in skerry(home, "device", "list").stdout
    assert "unknown (never seen)" in skerry(home, "device", "show", "dev-1").stdout
    assert "? of 1 devices online" in skerry(home, "monitor", "--once").stdout
    assert said(home, "monitor")["totals"]["devices"] == 1
    assert "no rollouts yet" in skerry(home, "rollout", "status").stdout
    assert "raspberry-pi-4" in skerry(home, "device", "boards").stdout


def test_a_long_list_is_given_a_page_at_a_time(home):
    for number in range(5):
        provision(home, f"dev-{number}")
    first = skerry(home, "device", "list", "--limit", "2").stdout
    assert "dev-1" in first
    assert "dev-2" not in first
    assert "3 more devices: --after dev-1, or --limit 5" in first
    rest = skerry(home, "device", "list", "--after", "dev-3").stdout
    assert "dev-4" in rest
    assert "more devices" not in rest
    assert [device["id"] for device in said(home, "device", "list")] == [f"dev-{number}" for number in range(5)]
    assert [device["id"] for device in said(home, "device", "list", "--after", "dev-1", "--limit", "1")] == ["dev-2"]
    assert (
        "and 3 more (unknown 3): `skerry device list --where state=unknown`"
        in skerry(home, "monitor", "--limit", "2").stdout
    )


def test_doctor_knows_a_home_that_is_well_and_one_that_is_not(home):
    checks = {check["name"]: check["ok"] for check in said(home, "doctor")}
    assert all(checks[name] for name in ("home", "keys", "registry", "store", "boards"))
    (home.keys / "director.pem").unlink()
    done = skerry(home, "doctor", "--json", check=False)
    assert done.returncode == 1
    assert next(c for c in json.loads(done.stdout) if c["name"] == "keys")["ok"] is False
