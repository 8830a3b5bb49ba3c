"""What the system of a board reads of an image: systemd takes the service on the staged disk, cloud-init its seed."""

import os
import re
import shutil
import stat
import subprocess

import pytest

from tests.kit.images import fake_python, first_boot, image
from tests.kit.programs import ROOT, require_program

TEMPLATES = ROOT / "firmware_configs" / "image"
UNITS = "/usr/lib/systemd/system"


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A board's disk after first-boot.sh, with systemd's own units of this machine."""
    require_program("systemd-analyze", "systemd")
    folder = tmp_path_factory.mktemp("units")
    root = folder / "root"
    done = first_boot(image(folder / "image"), root, SKERRY_PYTHON=str(fake_python(folder / "bin")))
    assert done.returncode == 0, done.stdout
    shutil.copytree(UNITS, f"{root}{UNITS}", symlinks=True)
    (root / "bin").mkdir()
    (root / "bin" / "sh").write_text("#!/bin/true\n")
    (root / "bin" / "sh").chmod(0o755)
    return root


def analyze(*words):
    command = ["systemd-analyze", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_systemd_takes_every_line_of_the_service_and_finds_its_program(disk):
    assert analyze("verify", f"--root={disk}", "skerry-agent.service") == (0, "")
    (disk / "opt" / "skerry").rename(disk / "opt" / "away")
    code, said = analyze("verify", f"--root={disk}", "skerry-agent.service")
    (disk / "opt" / "away").rename(disk / "opt" / "skerry")
    assert code != 0
    assert "/opt/skerry/bin/skerry-agent is not executable" in said


OLD = "etc/systemd/system/skerry-agent.service.d/before-250.conf"


@pytest.fixture(scope="module")
def old_disk(tmp_path_factory):
    """A board's disk after first-boot.sh under the systemd of Mendel."""
    folder = tmp_path_factory.mktemp("old")
    (folder / "bin").mkdir()
    (folder / "bin" / "systemctl").write_text("#!/bin/sh\necho 'systemd 241 (241)'\necho +PAM\n")
    (folder / "bin" / "systemctl").chmod(0o755)
    python = str(fake_python(folder / "bin"))
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    assert first_boot(image(folder / "image"), folder / "root", SKERRY_PYTHON=python, PATH=path).returncode == 0
    return folder / "root"


def test_an_older_systemd_which_hands_nothing_over_still_starts_the_agent_with_its_configuration(old_disk, disk):
    assert not (disk / OLD).exists()
    text = (old_disk / OLD).read_text()
    assert re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE) == [
        "", "/opt/skerry/bin/skerry-agent run --config /run/skerry-config/agent.toml",
    ]  # fmt: skip
    (script,) = re.findall(r"^ExecStartPre=\+/bin/sh -c '(.*?)'$", text.replace("\\\n", ""), re.MULTILINE)
    script = script.replace("$$", "$").replace("/etc/", f"{old_disk}/etc/").replace("/run/", f"{old_disk}/run/")
    (old_disk / "run" / "skerry").mkdir(parents=True)
    for _ in range(2):  # at every start
        subprocess.run(["sh", "-c", script], check=True)
    given = old_disk / "run" / "skerry-config"
    handed = {path.name for path in given.iterdir()}
    assert handed == {"agent.toml", "trust.json", "fleet-ca.pem", "claim.pem", "claim.key"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in given.iterdir()} == {0o600}
    assert stat.S_IMODE(given.stat().st_mode) == 0o700


def test_systemd_takes_every_line_of_what_is_for_an_older_one(disk, old_disk):
    (disk / OLD).parent.mkdir()
    shutil.copy(old_disk / OLD, disk / OLD)
    (disk / "bin" / "sh").chmod(0o755)
    verdict = analyze("verify", f"--root={disk}", "skerry-agent.service")
    shutil.rmtree((disk / OLD).parent)
    assert verdict == (0, "")


def test_the_service_is_hardened(disk):
    code, said = analyze("security", "--offline=true", f"--root={disk}", "--threshold=20", "skerry-agent.service")
    assert code == 0, said


def test_systemd_takes_what_goes_on_after_a_cut_of_the_power(disk):
    text = (ROOT / "firmware_configs" / "systemd" / "skerry-first-boot.service").read_text()
    unit = disk / "etc" / "systemd" / "system" / "skerry-first-boot.service"
    unit.write_text(text.replace("@FOLDER@", "/boot/firmware/skerry"))
    code, said = analyze("verify", f"--root={disk}", "skerry-first-boot.service")
    unit.unlink()
    assert (code, said) == (0, "")


def schema(path):
    program = require_program("cloud-init", "cloud-init")
    done = subprocess.run([program, "schema", "--config-file", path], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_cloud_init_finds_user_data_right(tmp_path):
    assert schema(TEMPLATES / "user-data")[0] == 0
    (tmp_path / "wrong").write_text((TEMPLATES / "user-data").read_text().replace("runcmd:", "runcmd: 5\nother:"))
    assert schema(tmp_path / "wrong")[0] != 0


def test_cloud_init_makes_a_network_of_network_config(tmp_path):
    program = require_program("cloud-init", "cloud-init")
    command = [program, "devel", "net-convert", "-p", TEMPLATES / "network-config", "-k", "yaml", "-d", tmp_path,
               "-D", "debian", "-O", "networkd"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = tmp_path.rglob("*.network")
    assert "Name=eth0" in made.read_text(), "a pattern is taken for a name by all but netplan"
    assert "DHCP=ipv4" in made.read_text()


def test_user_data_and_vendor_data_do_the_same():
    """One is for cards whose user-data is ours, the other for those whose user-data is somebody else's."""
    script = [line.strip() for line in (TEMPLATES / "user-data").read_text().splitlines()]
    vendor = [line.strip() for line in (TEMPLATES / "vendor-data").read_text().splitlines()]
    assert [line for line in script if line in vendor and line][-6:] == vendor[-6:]
