"""`skerry keys`: what lies in a home, the root key's way out of it, and every mistake in one line."""

import subprocess
import time

import msgspec
import pytest

from skerry_host.identity import key_files
from skerry_host.identity.authority import Authority
from skerry_host.identity.files import plane_identity
from tests.kit.commands import skerry
from tests.kit.home import make_home

PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def home(tmp_path):
    made = make_home(tmp_path / "home")
    plane_identity(made.identity, ["b.local"], time.time())
    return made


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "passphrase"
    path.write_text(f"{PASSPHRASE}\n")
    path.chmod(0o600)
    return path


def listed(home):
    done = skerry(home, "keys", "list", "--json")
    return {(row["path"], row["kind"]): row for row in msgspec.json.decode(done.stdout)["keys"]}, done.stderr


def test_every_key_and_certificate_of_a_home_is_listed_with_what_it_is_for(home):
    rows, said = listed(home)
    keys = {path for path, kind in rows if kind == "key"}
    on_disk = {str(path.relative_to(home.root)) for path in home.root.rglob("*.*") if _has_key(path)}
    assert keys == on_disk
    assert all(row["role"] for row in rows.values())
    assert {row["mode"] for row in rows.values() if row["kind"] == "key"} == {"0600"}
    root = rows["identity/root/root.key", "key"]
    assert root["fingerprint"] == rows["identity/root.pem", "certificate"]["fingerprint"]
    assert said.splitlines() == [
        "warning: the root key lies in the home: take it away with `skerry keys take-root DIR`"
    ]


def _has_key(path):
    return path.is_file() and b"PRIVATE KEY-----" in path.read_bytes()


def test_nothing_of_a_private_key_is_printed(home):
    text = skerry(home, "keys", "list").stdout + skerry(home, "keys", "list", "--json").stdout
    for path in home.root.rglob("*"):
        if _has_key(path):
            body = path.read_text().partition("PRIVATE KEY-----\n")[2].splitlines()[0]
            assert body not in text


@pytest.mark.parametrize("name", ["identity/issuing/1.key", "keys/director.pem", "identity/plane/plane.pem"])
def test_a_key_that_others_can_read_is_warned_of(home, name):
    (home.root / name).chmod(0o640)
    assert f"warning: {name}: others can read it: chmod 600 {name}" in listed(home)[1]


def test_what_is_damaged_or_does_not_match_is_warned_of_and_the_rest_is_listed(home, tmp_path):
    Authority.open(tmp_path / "other", time.time())
    (home.identity / "issuing" / "1.pem").write_bytes((tmp_path / "other" / "issuing" / "1.pem").read_bytes())
    (home.identity / "plane" / "canary.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n")
    rows, said = listed(home)
    assert "identity/issuing/1.pem: it is not of the key beside it" in said
    assert "identity/plane/canary.pem: damaged" in said
    assert ("identity/root.pem", "certificate") in rows


def test_a_home_without_an_authority_says_where_it_comes_from(tmp_path):
    home = make_home(tmp_path / "home")
    assert "skerry serve" in skerry(home, "keys", "take-root", str(tmp_path / "x"), check=False).stderr
    assert skerry(home, "keys", "list").returncode == 0


def test_the_root_key_is_taken_away_under_a_passphrase_that_openssl_knows(home, secret, tmp_path):
    before = (home.identity / "root" / "root.key").read_text()
    done = skerry(home, "keys", "take-root", str(tmp_path / "stick"), "--passphrase-file", str(secret))
    assert not (home.identity / "root" / "root.key").exists()
    assert done.stderr == ""
    taken = tmp_path / "stick" / "root.key"
    command = ["openssl", "pkcs8", "-in", taken, "-passin", f"file:{secret}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == before
    assert "root key lies in the home" not in listed(home)[1]
    Authority.open(home.identity, time.time()).principal("@plane")


def test_without_a_passphrase_it_is_said_what_that_means(home, tmp_path):
    done = skerry(home, "keys", "take-root", str(tmp_path / "stick"))
    assert done.stderr.startswith("warning: ")
    assert "under no passphrase" in done.stderr
    assert (tmp_path / "stick" / "root.key").stat().st_mode & 0o777 == 0o600


def test_the_issuing_ca_is_renewed_with_the_root_key_where_it_is(home, secret, tmp_path):
    stick, phrase = str(tmp_path / "stick"), ("--passphrase-file", str(secret))
    skerry(home, "keys", "take-root", stick, *phrase)
    skerry(home, "keys", "renew-issuing", "--root", stick, *phrase)
    assert "2.pem.next: signs from the next start of `skerry serve` on" in listed(home)[1]
    plane_identity(home.identity, ["b.local"], time.time())
    assert len(Authority.open(home.identity, time.time()).issuing) == 2


def _short(path):
    path.write_text("short\n")


MISTAKES = {
    "wrong passphrase": (lambda path: path.write_text("wrong horse battery staple\n"), "does not open"),
    "empty": (lambda path: path.write_text(""), "is not one line"),
    "readable by others": (lambda path: path.chmod(0o644), "is readable by others; run `chmod 600"),
    "absent": (lambda path: path.unlink(), "cannot read the passphrase"),
}


def test_a_mistake_with_the_passphrase_is_one_line_and_changes_nothing(home, secret, tmp_path):
    stick = str(tmp_path / "stick")
    skerry(home, "keys", "take-root", stick, "--passphrase-file", str(secret))
    before = {path: path.read_bytes() for path in home.identity.rglob("*") if path.is_file()}
    for what, (spoil, words) in MISTAKES.items():
        spoil(secret)
        done = skerry(home, "keys", "renew-issuing", "--root", stick, "--passphrase-file", str(secret), check=False)
        assert done.returncode in {1, 2}, what
        assert done.stderr.count("\n") == 1, what
        assert words in done.stderr, what
    assert {path: path.read_bytes() for path in home.identity.rglob("*") if path.is_file()} == before


def test_a_passphrase_that_is_too_short_takes_nothing_away(home, secret, tmp_path):
    _short(secret)
    done = skerry(home, "keys", "take-root", str(tmp_path / "stick"), "--passphrase-file", str(secret), check=False)
    assert "too short" in done.stderr
    assert (home.identity / "root" / "root.key").exists()
    assert not (tmp_path / "stick").exists()


def test_a_root_key_that_was_taken_away_is_asked_for_where_it_is_needed(home, tmp_path):
    skerry(home, "keys", "take-root", str(tmp_path / "stick"))
    again = skerry(home, "keys", "take-root", str(tmp_path / "other"), check=False)
    assert "it was taken away before" in again.stderr
    renewed = skerry(home, "keys", "renew-issuing", check=False)
    assert "give the folder where it is with --root" in renewed.stderr
    (tmp_path / "empty").mkdir()
    elsewhere = skerry(home, "keys", "renew-issuing", "--root", str(tmp_path / "empty"), check=False)
    assert "root.key is missing" in elsewhere.stderr


def test_another_fleets_root_key_is_neither_used_nor_overwritten(home, tmp_path):
    Authority.open(tmp_path / "other", time.time())
    stick = tmp_path / "other" / "root"
    before = (stick / "root.key").read_bytes()
    for command in (("keys", "take-root", str(stick)), ("keys", "renew-issuing", "--root", str(stick))):
        assert "is not the root key of this fleet" in skerry(home, *command, check=False).stderr
    assert (stick / "root.key").read_bytes() == before
    key_files.load_key(home.identity / "root" / "root.key")
