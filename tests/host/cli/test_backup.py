"""`skerry backup` and `skerry restore` as a user meets them: the passphrase, and one line for a mistake."""

import io
import json
import os
import pty
import select
import subprocess
import sys

import pytest

from skerry_host.home import Home
from tests.kit.commands import _environment, provision, skerry
from tests.kit.home import make_home

PHRASE = "five random words of a test"


@pytest.fixture
def home(tmp_path) -> Home:
    made = make_home(tmp_path / "home")
    provision(made, "dev-1", tmp_path / "device")
    return made


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "secret"
    file.write_text(f"{PHRASE}\n")
    file.chmod(0o600)
    return file


def back_up(home, tmp_path, *options, check=True):
    return skerry(home, "backup", str(tmp_path / "b"), *options, check=check)


def one_line(done, code):
    assert done.returncode == code
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert PHRASE not in done.stderr + done.stdout
    return done.stderr


def test_a_backup_is_made_listed_and_restored(home, secret, tmp_path):
    from_file = ["--passphrase-file", str(secret)]
    made = back_up(home, tmp_path, *from_file)
    assert "with 1 device and 0 releases" in made.stdout
    listed = json.loads(skerry(home, "restore", str(tmp_path / "b"), "--list", *from_file, "--json").stdout)
    assert (listed["devices"], listed["of_home"]) == (1, str(home.root))
    again = Home(tmp_path / "again")
    said = skerry(home, "restore", str(tmp_path / "b"), "--home", str(again.root), *from_file)
    assert f"next: skerry --home {again.root} serve" in said.stdout
    assert [each["id"] for each in json.loads(skerry(again, "device", "list", "--json").stdout)] == ["dev-1"]
    assert PHRASE not in made.stdout + made.stderr + said.stdout + said.stderr
    for place in (again.root, tmp_path):
        refused = skerry(home, "restore", str(tmp_path / "b"), "--home", str(place), *from_file, check=False)
        assert "is not empty; name a folder" in one_line(refused, 2)


def test_the_passphrase_of_the_environment(home, tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "SKERRY_PASSPHRASE", PHRASE)
    back_up(home, tmp_path)
    monkeypatch.setitem(os.environ, "SKERRY_PASSPHRASE", "of something else")
    refused = skerry(home, "restore", str(tmp_path / "b"), "--home", str(tmp_path / "again"), check=False)
    assert "the passphrase of" in one_line(refused, 2)
    assert not (tmp_path / "again").exists()


def test_a_registry_that_the_environment_names_instead_of_the_restored_one_is_warned_of(home, tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "SKERRY_PASSPHRASE", PHRASE)
    back_up(home, tmp_path)
    monkeypatch.setitem(os.environ, "SKERRY_REGISTRY", f"sqlite:///{tmp_path}/other.sqlite")
    said = skerry(home, "restore", str(tmp_path / "b"), "--home", str(tmp_path / "again"))
    assert "$SKERRY_REGISTRY names another registry" in said.stderr
    assert not (tmp_path / "other.sqlite").exists()


def test_a_passphrase_is_asked_for_twice_on_a_terminal_and_not_shown(home, tmp_path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "skerry_host.cli", "--home", str(home.root), "backup", str(tmp_path / "b")]
    ends = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
    with subprocess.Popen(command, env=_environment(), **ends) as process:
        os.close(theirs)
        said = ""
        for prompt in ("passphrase of the backup: ", "Repeat for confirmation: "):
            said += read_until(ours, prompt)
            os.write(ours, f"{PHRASE}\n".encode())
        said += read_until(ours, "0 releases")
        assert process.wait(30) == 0
    os.close(ours)
    assert "wrote" in said
    assert PHRASE not in said


def read_until(terminal, text):
    said = ""
    while text not in said:
        assert select.select([terminal], [], [], 20)[0], said
        said += os.read(terminal, 1000).decode()
    return said


@pytest.mark.parametrize(
    ("content", "mode", "what"),
    [
        (PHRASE, 0o644, "is readable by others; run `chmod 600"),
        ("", 0o600, "is not one line of text"),
        (f"{PHRASE}\nmore\n", 0o600, "is not one line of text"),
        ("short", 0o600, "is too short"),
        (b"\xff\xfe\x00" * 9, 0o600, "is not one line of text"),
        ("x" * 2000, 0o600, "is not one line of text"),
    ],
)
def test_a_file_that_holds_no_good_passphrase_is_one_line(home, tmp_path, content, mode, what):
    file = tmp_path / "secret"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    file.chmod(mode)
    assert what in one_line(back_up(home, tmp_path, "--passphrase-file", str(file), check=False), 2)
    assert not (tmp_path / "b").exists()


def test_no_passphrase_and_nobody_to_ask_is_one_line(home, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert "--passphrase-file" in one_line(back_up(home, tmp_path, check=False), 2)
    absent = back_up(home, tmp_path, "--passphrase-file", str(tmp_path / "nowhere"), check=False)
    assert "No such file" in one_line(absent, 2)


def test_a_home_that_is_none_cannot_be_backed_up(secret, tmp_path):
    nowhere = Home(tmp_path / "nowhere")
    assert "is not a Skerry home" in one_line(
        back_up(nowhere, tmp_path, "--passphrase-file", str(secret), check=False), 2
    )
