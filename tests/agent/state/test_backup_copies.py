"""agent.toml and trust.json have a second copy: damage is said and survived, and what somebody wrote wins."""

import base64
import os
from pathlib import Path

import pytest

from skerry_agent.config import ConfigError, keep_copy, load
from skerry_agent.ports.jobs import Payload, Refusal, VerifyMessage
from skerry_agent.state import backup_copies
from skerry_agent.supervisor.keys import WatchedKeys
from skerry_agent.trust.key_file import TrustError, parse_keys
from skerry_agent.trust.verification import KeyTrust
from tests.kit.processes import FakeProcesses

TEXT = """[device]
id = "dev-1"
[broker]
url = "mqtt://10.0.0.1"
[board]
name = "test"
[agent]
state_dir = "{state}"
"""
KEY = base64.b64encode(b"k" * 32).decode()
KEYS = f'{{"release":["{KEY}"],"director":["{KEY}"]}}'


def rot(path: Path, old: str, new: str) -> None:
    """Change content as a disk does: the time of writing stays."""
    before, text = path.stat(), path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def written(path: Path, text: str) -> Path:
    """A file, written at a time of its own."""
    path.write_text(text)
    os.utime(path, ns=(path.stat().st_mtime_ns + 10**9,) * 2)
    return path


@pytest.fixture(params=["state", "elsewhere"])
def file(tmp_path, request):
    """An agent.toml that a device has started with."""
    path = written(tmp_path / "agent.toml", TEXT.format(state=request.param))
    keep_copy(load(path))
    return path


@pytest.mark.parametrize(
    ("old", "new"),
    [("[device]", "[device"), ("dev-1", "Dev-1"), ("10.0.0.1", "10.0.0.3"), ("mqtt:", "mqtu:"), ("[board]", "[coard]")],
)
def test_a_config_that_rots_is_replaced_by_its_copy_and_said(file, old, new):
    rot(file, old, new)
    config = load(file)
    assert (config.device.id, config.broker.url, config.board.name) == ("dev-1", "mqtt://10.0.0.1", "test")
    assert f"{file} is damaged, its backup copy is used" in config.issue


def test_a_config_that_is_gone_is_replaced_by_its_copy(tmp_path):
    path = written(tmp_path / "agent.toml", TEXT.format(state="state"))
    keep_copy(load(path))
    path.unlink()
    assert load(path).issue is not None


def test_a_config_that_somebody_wrote_wins_and_becomes_the_copy(file):
    written(file, file.read_text().replace("10.0.0.1", "10.0.0.9"))
    config = load(file)
    assert (config.broker.url, config.issue) == ("mqtt://10.0.0.9", None)
    keep_copy(config)
    rot(file, "[device]", "[device")
    assert load(file).broker.url == "mqtt://10.0.0.9"


def test_a_damaged_config_never_becomes_the_copy(file):
    rot(file, "10.0.0.1", "10.0.0.3")
    keep_copy(load(file))
    assert load(file).broker.url == "mqtt://10.0.0.1"


def test_without_a_copy_a_damaged_config_is_the_users_mistake(tmp_path):
    path = written(tmp_path / "agent.toml", "[device")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(path)


def test_the_copy_of_another_file_is_not_used(file, tmp_path):
    other = tmp_path / "other" / "agent.toml"
    other.parent.mkdir()
    (tmp_path / "other" / "state").symlink_to(load(file).state_dir)
    written(other, "[device")
    with pytest.raises(ConfigError):
        load(other)


def test_a_damaged_copy_is_not_used(file):
    copy = load(file).state_dir / backup_copies.FOLDER / "agent.toml"
    copy.write_bytes(copy.read_bytes()[:-2])
    rot(file, "[device]", "[device")
    with pytest.raises(ConfigError):
        load(file)


def test_systemd_says_where_the_copy_is(tmp_path, monkeypatch):
    path = written(tmp_path / "agent.toml", TEXT.format(state=tmp_path / "var"))
    keep_copy(load(path))
    rot(path, "state_dir", "stbte_dir")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "var"))
    assert load(path).state_dir == tmp_path / "var"


# -- trust.json --------------------------------------------------------------------------------------------------------


@pytest.fixture
def device(tmp_path):
    """A config whose keys file is good."""
    written(tmp_path / "trust.json", KEYS)
    return load(written(tmp_path / "agent.toml", TEXT.format(state="state")))


def verify(device, answer) -> WatchedKeys:
    keys = WatchedKeys(device, FakeProcesses(lambda _job: answer))
    keys.run_updater(VerifyMessage(b"", "t", "release"), lambda _answer: None)
    return keys


@pytest.mark.parametrize(("old", "new"), [("{", "["), (KEY[:8], "AAAAAAAA"), (KEY, KEY[:-4]), ("release", "relfase")])
def test_keys_that_rot_are_replaced_by_their_copy_and_said(device, old, new):
    assert verify(device, Payload(b"")).issue is None
    rot(device.trust_file, old, new)
    trust = KeyTrust.from_file(device.trust_file, device.state_dir)
    assert trust._keys.keys() == {"release", "director"}
    assert "is damaged, its backup copy is used" in trust.issue
    assert WatchedKeys(device, FakeProcesses(lambda _job: None)).issue == trust.issue


def test_keys_that_opened_nothing_are_not_kept(device):
    verify(device, Refusal("rejected", "untrusted"))
    rot(device.trust_file, "{", "[")
    with pytest.raises(TrustError, match="no usable keys"):
        KeyTrust.from_file(device.trust_file, device.state_dir)


def test_keys_that_somebody_wrote_win(device):
    verify(device, Payload(b""))
    other = base64.b64encode(b"o" * 32).decode()
    written(device.trust_file, KEYS.replace(KEY, other))
    trust = KeyTrust.from_file(device.trust_file, device.state_dir)
    assert trust.issue is None
    assert trust._keys != KeyTrust.from_file(written(device.trust_file, KEYS), device.state_dir)._keys


@pytest.mark.parametrize("text", ["", "{", "[]", '{"release":"x"}', '{"release":["!!"]}', '{"release":["AAAA"]}'])
def test_what_is_no_keys_is_one_line(text):
    with pytest.raises(TrustError, match="no usable keys"):
        parse_keys(text.encode())
