"""A board boots for the first time: by the kernel's command line, by cloud-init; then its service enrols.

Real systemd and cloud-init of Debian 12, real wheels, a real plane with its broker; no hardware.
"""

import json

import pytest

from tests.boot.disk import Disk, require_disk
from tests.kit.commands import WITH_IDENTITIES, serving, skerry
from tests.kit.home import make_home
from tests.kit.images import here
from tests.kit.real_wheels import with_wheels

pytestmark = pytest.mark.system

RASPBERRY_PI_OS = "datasource_list: [NoCloud, None]\ndatasource:\n  NoCloud:\n    seedfrom: file:///boot/firmware/\n"
"""As its package rpi-cloud-init-mods has it; the slash at the end is for the older cloud-init of Debian 12."""
AWAIT = "for _ in $(seq 80); do {} && break; sleep 1; done\n"


@pytest.fixture
def home(tmp_path):
    require_disk()
    made = make_home(tmp_path / "home")
    skerry(made, "init")
    return with_wheels(made)


@pytest.fixture
def disk(home, tmp_path):
    made = Disk.fresh(tmp_path / "disk")
    yield made
    made.remove()


def insert(home, disk, *more):
    """Put the image of a device into the card."""
    options = ("--board", here().name, "--os", "debian-12", "--boot", str(disk.partition), *more)
    return skerry(home, "device", "provision", "edge-01", *options).stdout


def test_by_the_kernels_command_line_and_the_service_enrols(home, disk):
    (disk.root / "etc" / "cloud" / "cloud-init.disabled").touch()
    line = disk.partition / "cmdline.txt"
    line.write_text("console=tty1 root=PARTUUID=1-02 rootwait\n")
    with serving(home, WITH_IDENTITIES, "--port", "0", "--enroll-port", "0", "--no-http"):
        insert(home, disk)
        words = [word for word in line.read_text().split() if word.startswith("systemd.")]
        disk.boot(*(word.replace("=reboot", "=exit") for word in words))
        assert "start: skerry-agent starts" in disk.log, disk.log
        assert line.read_text() == "console=tty1 root=PARTUUID=1-02 rootwait\n"
        assert not (disk.partition / "skerry" / "claim.key").exists()
        enrolled = AWAIT.format(
            "/opt/skerry/bin/skerry-agent status --config /etc/skerry/agent.toml | grep 'enrolled as'"
        )
        said = disk.boot_and(f"{enrolled}systemctl show skerry-agent -p ActiveState -p NRestarts", network=True)
        assert "identity: enrolled as edge-01" in said
        assert "ActiveState=active" in said
        assert "NRestarts=0" in said
        (row,) = json.loads(skerry(home, "device", "list", "--json").stdout)
        assert row["known"]["how"] == "identity"


STARTED = (
    AWAIT.format("[ -f /var/lib/cloud/instance/boot-finished ]")
    + AWAIT.format("systemctl is-active --quiet skerry-agent")
    + "cat /root/mine; systemctl is-active skerry-agent"
)


def test_by_cloud_init_beside_what_somebody_else_has_asked_of_it(home, disk):
    (disk.root / "etc" / "cloud" / "cloud.cfg.d" / "99_raspberry-pi.cfg").write_text(RASPBERRY_PI_OS)
    own = '#cloud-config\nruncmd:\n  - [sh, -c, "echo somebody was here >/root/mine"]\n'
    (disk.partition / "user-data").write_text(own)
    (disk.partition / "meta-data").write_text("dsmode: local\ninstance_id: rpios-image\n")
    assert "by vendor-data" in insert(home, disk)
    said = disk.boot_and(STARTED)
    assert "start: skerry-agent starts" in disk.log, f"{disk.log} {said}"
    assert said.split("\n")[:2] == ["somebody was here", "active"]
    assert (disk.partition / "user-data").read_text() == own


def test_by_cloud_init_with_the_images_own_seed(home, disk):
    (disk.root / "etc" / "cloud" / "cloud.cfg.d" / "99_raspberry-pi.cfg").write_text(RASPBERRY_PI_OS)
    insert(home, disk)
    said = disk.boot_and(STARTED)
    assert "start: skerry-agent starts" in disk.log, f"{disk.log} {said}"
    assert (disk.root / "etc" / "hostname").read_text() == "edge-01\n"


def test_after_a_cut_of_the_power_the_next_boot_goes_on(home, disk):
    (disk.root / "etc" / "cloud" / "cloud-init.disabled").touch()
    insert(home, disk)
    script = disk.partition / "skerry" / "first-boot.sh"
    text = script.read_text()
    script.write_text(text.replace("make_environment\n    put_factory", "kill -KILL $$\n    put_factory"))
    (disk.partition / "skerry" / "SHA256SUMS").write_text(_summed(disk.partition / "skerry"))
    disk.boot_and("sh /boot/firmware/skerry/first-boot.sh")
    assert not (disk.root / "etc" / "skerry" / "agent.toml").exists()
    script.write_text(text)
    (disk.partition / "skerry" / "SHA256SUMS").write_text(_summed(disk.partition / "skerry"))
    said = disk.boot_and(AWAIT.format("systemctl is-active skerry-agent") + "ls /etc/systemd/system")
    assert "start: skerry-agent starts" in disk.log, f"{disk.log} {said}"
    assert "skerry-first-boot" not in said


def _summed(folder):
    from skerry_host.image.request import ImageFile

    paths = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    kept = [path for path in paths if path not in {"SHA256SUMS", "first-boot.log"}]
    return "".join(f"{ImageFile(path, source=folder / path).sha256()}  {path}\n" for path in kept)
