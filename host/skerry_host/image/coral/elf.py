"""What a Linux program or library says of itself: its machine, the C library that it needs, its names. Runs nothing."""

import re
import struct
from dataclasses import dataclass

MACHINES = {0x3E: "x86_64", 0xB7: "aarch64", 0x28: "armv7l"}
_GLIBC = re.compile(rb"GLIBC_2\.([0-9]{1,2})(?:\.[0-9]+)?\x00")


@dataclass(frozen=True, slots=True)
class Elf:
    """Of one file. `glibc` is the oldest that it runs with, empty where it names none; `musl`: it is for that one."""

    machine: str
    glibc: str
    musl: bool


def read_elf(data: bytes) -> Elf | None:
    """None of what is no ELF file of 64 or 32 bits, in the order of bytes of all our machines."""
    if data[:4] != b"\x7fELF" or len(data) < 64 or data[5] != 1:
        return None
    (machine,) = struct.unpack_from("<H", data, 18)
    minors = [int(found) for found in _GLIBC.findall(data)]
    return Elf(MACHINES.get(machine, f"machine {machine:#x}"), f"2.{max(minors)}" if minors else "", b"ld-musl" in data)


def names(data: bytes, symbol: str) -> bool:
    """Whether a symbol's name is among a file's strings."""
    return b"\x00" + symbol.encode() + b"\x00" in data
