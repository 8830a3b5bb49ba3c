"""Image files of cards: a partition table, a FAT partition to boot from, something behind it. No tests here."""

import subprocess
from pathlib import Path

from skerry_host.image.boot.mtools import Fat
from skerry_host.image.boot.partition import Partition
from tests.kit.programs import require_program

MB = 1024 * 1024
START = 1 * MB


def card(path: Path, files: dict[str, bytes], megabytes: int = 40) -> Path:
    """An image as systems come: MBR, a FAT partition with files, and one of Linux."""
    fat = path.with_suffix(".fat")
    filesystem(fat, files, megabytes)
    with path.open("wb") as file:
        file.truncate(START + (megabytes + 4) * MB)
    table = f"label: dos\nstart={START // 512},size={megabytes * MB // 512},type=c\ntype=83\n"
    sfdisk = require_program("sfdisk", "fdisk")
    subprocess.run([sfdisk, "-q", str(path)], input=table, text=True, check=True, capture_output=True)
    with path.open("r+b") as file:
        file.seek(START)
        file.write(fat.read_bytes())
    fat.unlink()
    return path


def filesystem(path: Path, files: dict[str, bytes], megabytes: int = 40) -> Path:
    """A FAT file system without a partition table."""
    with path.open("wb") as file:
        file.truncate(megabytes * MB)
    subprocess.run([require_program("mkfs.vfat", "dosfstools"), str(path)], check=True, capture_output=True)
    require_program("mcopy", "mtools")
    for name, content in files.items():
        one = path.with_name(name)
        one.write_bytes(content)
        Fat(path, Partition(0, 0)).copy([one])
        one.unlink()
    return path


def extracted(path: Path, into: Path, start: int = START) -> Path:
    """All that is on the boot partition, as a folder."""
    into.mkdir()
    command = ["mcopy", "-s", "-Q", "-i", f"{path}@@{start}", "::*", str(into)]
    subprocess.run(command, check=True, capture_output=True, env={"MTOOLS_SKIP_CHECK": "1", "PATH": "/usr/bin:/bin"})
    return into
