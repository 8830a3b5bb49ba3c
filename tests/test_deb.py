"""The Debian package of the agent: it is installed by dpkg, its program runs out of it alone, and it goes again."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.programs import ROOT, require_program
from tests.kit.real_wheels import PYTHON, real_wheels, system_here

ENV = Path("opt") / "skerry"


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Built for this machine and the Python of its system, with LiteRT only."""
    require_program("dpkg-deb", "dpkg")
    if not Path(f"/usr/bin/python{PYTHON}").exists():
        pytest.skip(f"this system's own Python is not {PYTHON}")
    real_wheels()
    folder = tmp_path_factory.mktemp("deb")
    command = [sys.executable, "scripts/deb", folder, platform.machine(), system_here().name, "--extras", "litert"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.deb")
    assert str(made) in done.stdout
    return made


@pytest.fixture
def disk(tmp_path):
    """A system's disk with nothing on it."""
    for name in ("updates", "info", "triggers"):
        (tmp_path / "disk" / "var" / "lib" / "dpkg" / name).mkdir(parents=True)
    (tmp_path / "disk" / "var" / "lib" / "dpkg" / "status").touch()
    return tmp_path / "disk"


def dpkg(disk, *words):
    command = ["dpkg", f"--root={disk}", "--force-depends", "--force-script-chrootless", "--force-not-root",
               "--log=/dev/null", *map(str, words)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_dpkg_installs_it_and_the_agent_runs_out_of_it_alone(package, disk):
    code, said = dpkg(disk, "--install", package)
    assert code == 0, said
    python = disk / ENV / "bin" / "python"
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    checks = {
        "import skerry_agent, paho.mqtt; print(paho.mqtt.__version__)": "2.",
        "import ai_edge_litert.interpreter, cryptography, sys; print(sys.prefix)": str(disk / ENV),
        "import pip; print(pip.__file__)": str(disk / ENV),
    }
    for line, begins in checks.items():
        done = subprocess.run([python, "-I", "-c", line], env=own, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(begins)
    done = subprocess.run(
        [python, disk / ENV / "bin" / "skerry-agent", "--version"], env=own, capture_output=True, check=True
    )
    assert done.stdout.startswith(b"skerry-agent, version ")
    assert (disk / "usr" / "lib" / "systemd" / "system" / "skerry-agent.service").is_file()
    assert dpkg(disk, "--purge", "skerry-agent")[0] == 0
    assert not (disk / ENV).exists()


def test_it_says_what_it_needs(package):
    fields = subprocess.run(["dpkg-deb", "-f", package], capture_output=True, text=True, check=True).stdout
    major, minor = PYTHON.split(".")
    assert f"python3 (>= {PYTHON}~), python3 (<< {major}.{int(minor) + 1}~), libc6 (>= {system_here().glibc})" in fields
    listed = subprocess.run(["dpkg-deb", "-c", package], capture_output=True, text=True, check=True).stdout
    assert all(" root/root " in line for line in listed.splitlines())
    assert "__pycache__" not in listed


def test_it_does_not_write_through_the_link_of_first_boot(package, disk):
    (disk / "opt" / "skerry-0123-cp311").mkdir(parents=True)
    (disk / "opt" / "skerry").symlink_to("skerry-0123-cp311")
    code, said = dpkg(disk, "--install", package)
    assert code != 0
    assert "refused: /opt/skerry is a link that first-boot.sh has made" in said
    assert list((disk / "opt" / "skerry-0123-cp311").iterdir()) == []


def test_its_scripts_are_posix():
    program = require_program("shellcheck", "shellcheck")
    scripts = sorted((ROOT / "firmware_configs" / "debian").glob("p*"))
    done = subprocess.run([program, *scripts], capture_output=True, text=True, check=False)
    assert (len(scripts), done.returncode) == (4, 0), done.stdout
