"""A disk with Debian 12 on it, booted by its own systemd as process 1 of new namespaces. No tests here.

No hardware, no firmware, no kernel of its own: what the kernel's command line holds is given to systemd as arguments,
and in place of a reboot systemd ends.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kit.programs import ROOT

MADE = ROOT / ".venv" / "boot"
LOOK = """[Unit]
After=multi-user.target skerry-agent.service
[Service]
Type=oneshot
ExecStart=/bin/sh /look.sh
ExecStopPost=/bin/systemctl exit
TimeoutStartSec=200
"""
BOOT = """
mount --make-rprivate /
mount --bind "$1" "$1"
for each in proc:proc sysfs:sys cgroup2:sys/fs/cgroup tmpfs:run tmpfs:dev; do
    mount -t "${each%%:*}" none "$1/${each#*:}"
done
mount --bind "$1/proc/sys" "$1/proc/sys" && mount -o remount,bind,ro "$1/proc/sys"
for name in null zero full random urandom tty; do touch "$1/dev/$name"; mount --bind "/dev/$name" "$1/dev/$name"; done
mkdir "$1/dev/pts" "$1/dev/shm" && mount -t devpts none "$1/dev/pts" && ln -s pts/ptmx "$1/dev/ptmx"
mount --make-rshared "$1"
hostname board
root=$1
shift
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" /sbin/init "$@"
"""


def require_disk() -> None:
    """Skips where there is no Debian to boot, or no right to."""
    if os.environ.get("SKERRY_BOOT") is None:
        pytest.skip("`make test-boot` boots a Debian: it takes minutes")
    if not (MADE / ".ready").is_file() or os.geteuid() != 0:
        pytest.skip("no Debian to boot: scripts/setup-boot says why")


@dataclass(frozen=True)
class Disk:
    """A root file system, and the boot partition in it."""

    root: Path

    @classmethod
    def fresh(cls, root: Path) -> "Disk":
        """As it comes out of its box."""
        subprocess.run(["cp", "-a", "--reflink=auto", str(MADE / "root"), str(root)], check=True)
        (root / "boot" / "firmware").mkdir(parents=True)
        return cls(root)

    @property
    def partition(self) -> Path:
        """Where the boot partition is mounted."""
        return self.root / "boot" / "firmware"

    @property
    def log(self) -> str:
        """What first-boot.sh has said."""
        file = self.partition / "skerry" / "first-boot.log"
        return file.read_text() if file.exists() else "nothing"

    def boot(self, *arguments: str, network: bool = False) -> None:
        """Until systemd ends. `network`: that of this machine, for its loopback."""
        namespaces = ["-m", "-p", "-C", "-u", "-i", *([] if network else ["-n"])]
        command = ["unshare", *namespaces, "-f", "sh", "-eu", "-c", BOOT, "sh", str(self.root), *arguments]
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=300)

    def boot_and(self, script: str, *, network: bool = False) -> str:
        """Boot as usual, run a shell script when all services are started, and end; what the script has said."""
        units = self.root / "etc" / "systemd" / "system"
        (units / "look.service").write_text(LOOK)
        (self.root / "look.sh").write_text(f"exec >/look.out 2>&1\n{script}\n")
        wanted = units / "multi-user.target.wants" / "look.service"
        wanted.unlink(missing_ok=True)
        wanted.symlink_to("../look.service")
        self.boot(network=network)
        return (self.root / "look.out").read_text() if (self.root / "look.out").exists() else "it did not come so far"

    def remove(self) -> None:
        """Take the disk away."""
        shutil.rmtree(self.root, ignore_errors=True)
