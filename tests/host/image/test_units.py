"""What the system of a board reads of an image: systemd takes the service on the staged disk, cloud-init its seed."""

import shutil
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
