"""Finds the FAT partition that a board boots from, in the image file of a card. Reads the file's first sectors only."""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from skerry_host.image.errors import BootError

SECTOR = 512
_FAT_TYPES = frozenset({0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E, 0xEF})
_GPT = 0xEE
_PACKED = {b"\xfd7zXZ": "xz", b"\x1f\x8b": "gzip", b"PK": "zip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2"}
_UNPACK = "give the image itself: one with an MBR whose first FAT partition is /boot/firmware, or a FAT file system"


@dataclass(frozen=True, slots=True)
class Partition:
    """Where a FAT file system lies in a file, in bytes."""

    offset: int
    size: int


def find_boot_partition(file: BinaryIO, name: str) -> Partition:
    """The first FAT partition. Raises `BootError` where there is none, `OSError`."""
    size = file.seek(0, 2)
    first = _sector(file, 0)
    for magic, packed in _PACKED.items():
        if first.startswith(magic):
            raise BootError(f"{name} is packed ({packed})", hint="unpack it first", code="not_an_image")
    if not _is_signed(first):
        raise BootError(f"{name} is no image of a card: it has no partition table", hint=_UNPACK, code="not_an_image")
    if _is_fat(first):
        return Partition(0, size)
    entries = [struct.unpack_from("<4xB3xII", first, 446 + 16 * number) for number in range(4)]
    for kind, start, sectors in entries:
        if kind in _FAT_TYPES and sectors:
            return _checked(file, Partition(start * SECTOR, sectors * SECTOR), size, name)
    if any(kind == _GPT for kind, _, _ in entries):
        raise BootError(
            f"{name} has a GPT: what boots from it does not read cloud-init's files there",
            hint="put them on a stick of their own, named CIDATA (docs/provisioning.md)",
            code="not_an_image",
        )
    raise BootError(f"{name} has no FAT partition to boot from", hint=_UNPACK, code="not_an_image")


def _checked(file: BinaryIO, found: Partition, size: int, name: str) -> Partition:
    if found.offset + found.size > size:
        missing = found.offset + found.size - size
        raise BootError(f"{name} is cut off: {missing} bytes of its boot partition are missing", code="not_an_image")
    if not _is_fat(_sector(file, found.offset)):
        raise BootError(f"the boot partition of {name} holds no FAT file system", hint=_UNPACK, code="not_an_image")
    return found


def _sector(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    return file.read(SECTOR).ljust(SECTOR, b"\0")


def _is_signed(sector: bytes) -> bool:
    return sector[510:512] == b"\x55\xaa"


def _is_fat(sector: bytes) -> bool:
    """By the words that mkfs.fat and Windows write into the boot sector: FAT12, FAT16, FAT32."""
    return _is_signed(sector) and (sector[54:57] == b"FAT" or sector[82:85] == b"FAT")
