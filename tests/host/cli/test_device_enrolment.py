"""The commands for records, claims and boards that wait: what they write, and that a mistake leaves no file."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from skerry_agent.config import load
from skerry_host.home import Home
from skerry_host.plane.registry.database import open_registry
from skerry_host.plane.registry.records import claims
from tests.kit.commands import skerry
from tests.kit.home import make_home
from tests.kit.identities import waiting_board

PRIVATE = {"agent.toml", "claim.key"}


@pytest.fixture
def home(tmp_path):
    made = make_home(tmp_path / "home")
    skerry(made, "init")
    return made


def device(home, *words, check=True):
    return skerry(home, "device", *words, check=check)


def as_json(home, *words):
    return json.loads(device(home, *words, "--json").stdout)


def batch(tmp_path, text) -> str:
    file = tmp_path / "fifty.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(file)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def put(home, *rows):
    with open_registry(home.registry) as opened, opened.write() as session:
        for row in rows:
            claims.wait(session, row)


def test_provision_writes_what_one_board_enrols_by_and_the_agent_reads_it(home):
    said = as_json(home, "provision", "edge-1", "--board", "generic-x86", "--tag", "lab", "--days", "2")
    folder = home.devices / "edge-1"
    assert (said["claim"], said["folder"]) == ("@claim-1", str(folder))
    assert set(modes(folder)) == {"agent.toml", "claim.key", "claim.pem", "fleet-ca.pem", "trust.json"}
    assert all(modes(folder)[name] == 0o600 for name in PRIVATE)
    config = load(folder / "agent.toml")
    assert (config.device.id, config.broker.url) == ("edge-1", "mqtts://127.0.0.1:8883")
    assert config.enrolment.url == "mqtts://127.0.0.1:8884"
    (claim,) = as_json(home, "claims")
    assert (claim["device"], claim["count"], claim["state"]) == ("edge-1", 1, "open")
    assert as_json(home, "list")[0]["known"]["how"] == "awaited"


def test_another_name_of_the_broker_is_the_enrolment_listeners_too(home):
    device(home, "provision", "edge-1", "--board", "generic-x86", "--broker", "mqtts://fleet.example:8883")
    assert load(home.devices / "edge-1" / "agent.toml").enrolment.url == "mqtts://fleet.example:8884"


def test_a_claim_for_many_is_one_folder_without_an_id(home, tmp_path):
    said = as_json(
        home,
        "claim",
        "--count",
        "3",
        "--board",
        "generic-x86",
        "--days",
        "1",
        "--config-only",
        "--out",
        str(tmp_path / "i"),
    )
    assert (said["claim"], said["count"], said["folders"]) == ("@claim-1", 3, [str(tmp_path / "i")])
    assert load(tmp_path / "i" / "agent.toml").device.id is None
    assert as_json(home, "list") == []


def test_a_batch_makes_its_records_and_a_folder_for_each_kind_of_board(home, tmp_path):
    file = batch(tmp_path, "id,board,tags,serial\ne-01,generic-x86,a b,S1\ne-02,raspberry-pi-4,,\n")
    said = as_json(home, "claim", "--batch", file, "--config-only", "--out", str(tmp_path / "image"))
    assert said["devices"] == ["e-01", "e-02"]
    assert [Path(folder).name for folder in said["folders"]] == ["generic-x86", "raspberry-pi-4"]
    listed = {each["id"]: (each["board"], each["tags"]) for each in as_json(home, "list")}
    assert listed == {"e-01": ("generic-x86", ["a", "b"]), "e-02": ("raspberry-pi-4", [])}


MISTAKES = {
    "neither batch nor count": (["claim"], "give either --batch or --count"),
    "a count without a board": (["claim", "--count", "3"], "--count needs --board"),
    "a board for a batch": (["claim", "--batch", "{good}", "--board", "generic-x86"], "a file says them itself"),
    "a file with faults": (["claim", "--batch", "{bad}"], "line 3: id e-1 is on line 2 too"),
    "a file that is no text": (["claim", "--batch", "{binary}"], "not UTF-8"),
    "an id that is there": (["claim", "--batch", "{taken}"], "already enrolled: dev-1"),
    "a folder that is full": (
        ["claim", "--count", "3", "--board", "generic-x86", "--config-only", "--out", "{full}"],
        "is not empty",
    ),
    "a broker without TLS": (
        ["claim", "--count", "3", "--board", "generic-x86", "--broker", "mqtt://h"],
        "no listener for enrolment",
    ),
    "a user in the address": (
        ["claim", "--count", "3", "--board", "generic-x86", "--enroll-broker", "mqtts://ann:pass@h"],
        "holds a user",
    ),
    "a name that is taken": (["provision", "dev-1", "--board", "generic-x86"], "--replace"),
    "a name of the plane": (["provision", "@plane", "--board", "generic-x86"], "device id"),
    "no days": (["provision", "edge-1", "--board", "generic-x86", "--days", "0"], "--days"),
    "a code that is none": (["approve", "KX3P77Q1", "--as", "edge-1"], "is not a board's code"),
    "a code that nobody has": (["approve", "KX3P-77QA", "--as", "edge-1"], "no board waits"),
    "an approval under no id": (["approve", "AAAA-AAAA", "--as", "../x"], "device id"),
    "an approval for a claim that is over": (["approve", "AAAA-AAAA", "--as", "edge-1"], "@claim-1"),
    "a claim that is not there": (["claims", "--close", "7"], "there is no claim 7"),
    "a device that is not there": (["revoke", "nobody", "--reason", "x"], "there is no device 'nobody'"),
    "no reason": (["revoke", "dev-1"], "--reason"),
    "no tag": (["retag", "dev-1"], "give --add or --remove"),
    "a tag that no selection can name": (["retag", "dev-1", "--add", "a b"], "tag 'a b'"),
    "a name that is taken, renamed to": (["rename", "dev-2", "dev-1"], "dev-1 is already enrolled"),
    "deny what does not wait": (["deny", "KX3P-77QA"], "no board waits"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A home and files for all mistakes together: each leaves everything as it was."""
    tmp_path = tmp_path_factory.mktemp("mistakes")
    home = make_home(tmp_path / "home")
    skerry(home, "init")
    for name in ("dev-1", "dev-2"):
        device(home, "provision", name, "--board", "generic-x86", "--broker", "mqtt://h")
    put(home, waiting_board())  # by a claim that the registry does not have
    made = {
        "good": "id,board\ne-1,generic-x86\n",
        "bad": "id,board\ne-1,generic-x86\ne-1,generic-x86\n",
        "taken": "id,board\ne-1,generic-x86\ndev-1,generic-x86\n",
    }
    for name, text in made.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    return tmp_path


@pytest.mark.parametrize(("words", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(files, words, said):
    home = Home(files / "home")
    before = [each["id"] for each in as_json(home, "list")]
    places = {name: str(files / name) for name in ("good", "bad", "taken", "binary", "full")}
    words = [word.format(**places) for word in words]
    if words[0] == "claim" and "--out" not in words:
        words += ["--config-only", "--out", str(files / "out")]
    done = device(home, *words, check=False)
    assert done.returncode in {1, 2}
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (files / "out").exists()
    assert [each["id"] for each in as_json(home, "list")] == before
    assert [each for each in as_json(home, "claims") if each["state"] == "open"] == []


def test_several_are_done_as_far_as_they_can_be(home):
    for name in ("dev-1", "dev-2"):
        device(home, "provision", name, "--board", "generic-x86", "--broker", "mqtt://h")
    done = device(home, "revoke", "dev-1", "nobody", "--reason", "sold", check=False)
    assert done.returncode == 3
    assert "revoked 1 of 2 devices: dev-1; the broker is told when the plane runs" in done.stdout
    assert "not revoked: nobody" in done.stdout
    assert device(home, "retag", "dev-1", "dev-2", "--add", "lab", "--remove", "x").returncode == 0
    assert [each["tags"] for each in as_json(home, "list")] == [["lab"], ["lab"]]
    assert "revoked: sold" in device(home, "list", "--where", "known=revoked").stdout
    assert "dev-2" not in device(home, "list", "--where", "known=revoked").stdout


def test_retired_devices_are_listed_apart(home):
    device(home, "provision", "dev-1", "--board", "generic-x86", "--broker", "mqtt://h")
    device(home, "retire", "dev-1")
    assert as_json(home, "list") == []
    assert "dev-1" not in skerry(home, "monitor", "--once").stdout
    assert [each["id"] for each in as_json(home, "list", "--retired")] == ["dev-1"]
    device(home, "provision", "dev-1", "--board", "generic-x86", "--broker", "mqtt://h", "--replace")
    assert "known by: no identity" in device(home, "show", "dev-1").stdout


def test_another_board_of_a_device_is_in_its_groups(home):
    """The command by which docs/enrolment.md moves a device to an identity took its tags, and so all rollouts."""
    for more in (("--tag", "lab"), ("--replace",), ("--replace",)):
        said = as_json(home, "provision", "dev-1", "--board", "generic-x86", *more)
        assert said["tags"] == ["lab"]
    assert [each["tags"] for each in as_json(home, "list")] == [["lab"]]
    said = as_json(
        home, "provision", "dev-1", "--replace", "--tag", "other", "--config-only", "--out", str(home.root / "out")
    )
    assert (said["board"], said["tags"]) == ("generic-x86", ["other"])


def test_the_command_that_a_refusal_hints_at_works_as_it_stands(home, tmp_path):
    """`skerry device provision NAME --replace`: it was refused without --board."""
    device(home, "provision", "dev-1", "--board", "raspberry-pi-4")
    device(home, "revoke", "dev-1", "--reason", "stolen")
    out = device(home, "provision", "dev-1", "--replace", "--config-only", "--out", str(tmp_path / "again")).stdout
    assert "run --config again/agent.toml" in out, "where the folder is, not what the device is called"
    assert [each["board"] for each in as_json(home, "list")] == ["raspberry-pi-4"]
    for words, said in ((("provision", "dev-2"), "Missing option '--board'"), (("provision", "no", "--replace"), "id")):
        done = device(home, *words, check=False)
        assert (done.returncode, said in done.stderr) == (2, True)


def test_two_commands_do_not_write_their_claims_into_one_folder(home, tmp_path):
    """Its key would be of one, its certificate of the other: no board could ask, and both said that all was well."""
    words = [
        "device",
        "claim",
        "--count",
        "2",
        "--board",
        "generic-x86",
        "--config-only",
        "--out",
        str(tmp_path / "image"),
    ]
    command = [sys.executable, "-m", "skerry_host.cli", "--home", str(home.root), *words]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) for _ in range(2)]
    said = [each.communicate()[1] for each in both]
    assert sorted(each.returncode for each in both) == [0, 2]
    assert "image is not empty" in "".join(said)
    (claim,) = as_json(home, "claims")
    assert claim["state"] == "open"


def test_what_boards_say_of_themselves_is_shown_and_harmless(home):
    device(home, "claim", "--count", "2", "--board", "generic-x86", "--config-only", "--out", str(home.root / "image"))
    put(home, waiting_board())
    shown = device(home, "pending").stdout
    assert "AAAA-AAAA" in shown
    assert device(home, "approve", "aaaa aaaa", "--as", "edge-9").stdout.startswith("board AAAA-AAAA is approved")
    assert as_json(home, "pending")[0]["approved"] == "edge-9"
    assert device(home, "deny", "AAAA-AAAA").returncode == 0
    assert as_json(home, "pending")[0]["state"] == "denied"


def test_what_somebody_has_added_to_an_agent_toml_is_kept_when_its_device_is_provisioned_again(home):
    """Inputs of a device of this machine were gone with the move to an identity, and nothing said so."""
    device(home, "provision", "edge-1", "--board", "generic-x86", "--broker", "mqtt://h")
    file = home.devices / "edge-1" / "agent.toml"
    file.write_text(file.read_text() + '[models.fashion]\nhttp = "127.0.0.1:9000"\n')
    text = file.read_text()
    said = device(home, "provision", "edge-1", "--replace").stdout
    before = home.devices / "edge-1.agent.toml.before"
    assert (before.read_text(), str(before) in said) == (text, True)
    assert modes(home.devices)[before.name] == 0o600
    assert "agent.toml.before" not in modes(file.parent), "the folder goes to a board, and old ones hold passwords"
    assert "before" not in device(home, "provision", "edge-2", "--board", "generic-x86").stdout


@pytest.mark.parametrize("name", ["claim.pem", "agent.toml"])
def test_a_folder_that_is_written_by_half_is_taken_away(home, tmp_path, name):
    """On a full disk, claim.key stayed there: of a claim that is not, and the next try was refused for it."""
    out = tmp_path / "image"
    out.mkdir()
    (out / name).mkdir()
    (out / name / "full").touch()
    done = device(
        home, "provision", "edge-1", "--board", "generic-x86", "--config-only", "--out", str(out), check=False
    )
    assert (done.returncode, f"cannot write {out}: " in done.stderr) == (1, True)
    assert [path.name for path in out.iterdir()] == [name]
    assert as_json(home, "claims") == []


def test_hundreds_that_a_stolen_claim_makes_wait_do_not_hide_the_others(home):
    """The list is paged and narrowed as all are."""
    for number in range(2):
        device(
            home,
            "claim",
            "--count",
            "2",
            "--board",
            "generic-x86",
            "--config-only",
            "--out",
            str(home.root / f"image-{number}"),
        )
    boards = [waiting_board() for _ in range(120)]
    for number, row in enumerate(boards):
        row.key_sha256, row.code, row.first = f"{number:064x}", f"AAAA-A{_letters(number)}", float(number)
    boards[119].claim = "@claim-2"
    put(home, *boards)
    shown = device(home, "pending").stdout
    assert shown.count("AAAA-A") == 100 + 1
    assert f"20 more boards: --after AAAA-A{_letters(99)}, or --limit 120" in shown
    assert [each["code"] for each in as_json(home, "pending", "--where", "claim=@claim-2")] == [boards[119].code]
    assert len(as_json(home, "pending")) == 120
    device(home, "claims", "--close", "2")
    assert "its claim is closed" in device(home, "pending", "--where", "state=closed").stdout
    assert len(as_json(home, "pending", "--where", "state=waiting")) == 119
    assert "no such board waits" in device(home, "pending", "--where", "claim=@claim-3").stdout


def _letters(number):
    return "".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[number // 26**place % 26] for place in (2, 1, 0))


def test_a_folder_that_cannot_be_written_leaves_no_record_and_no_claim(home, tmp_path):
    (tmp_path / "file").touch()
    out = str(tmp_path / "file" / "below")
    done = device(home, "provision", "edge-1", "--board", "generic-x86", "--config-only", "--out", out, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert (as_json(home, "list"), as_json(home, "claims")) == ([], [])
