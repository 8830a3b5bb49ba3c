"""What a board says of its supply voltage and of being slowed down. Reads; decides nothing.

Each kind of board says it elsewhere, and few say all of it, so every value may be None: not told.

    the firmware's word    Raspberry Pi: bit 0 under-voltage, 1 frequency capped, 2 throttled, 3 soft temperature limit;
                           bits 16 to 19 the same since the word was last cleared (raspberrypi/documentation,
                           `vcgencmd get_throttled`). From the mailbox /dev/vcio (tag 0x00030046), the file
                           `get_throttled` that Raspberry Pi's own kernels had below the firmware's node (hexadecimal,
                           "deprecated, use hwmon sysfs instead"), or the tool.
    hwmon `rpi_volt`       Raspberry Pi with drivers/hwmon/raspberrypi-hwmon.c: `in0_lcrit_alarm` is bit 16 of the word,
                           which that driver reads and clears every 2 s. So where it runs, bits 16 to 19 go back only
                           2 s, and who wants to know of more has to remember (`supply`).
    cooling devices        any board whose kernel caps the processor (Documentation/driver-api/thermal/sysfs-api.rst)
    thermal_throttle       x86: counts since boot (arch/x86, drivers/thermal/intel/therm_throt.c)

Read by the formats of these sources; not run on a Raspberry Pi.
"""

import fcntl
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from skerry_agent.meters import sysfs

UNDERVOLTAGE, THROTTLED = 0b0001, 0b1110
STICKY = 16
"""The bits of what has occurred are the same ones, shifted by this."""

TOOL_PAUSE_S = 10.0

_TAG = 0x00030046
_DONE = 0x80000000
_MESSAGE = struct.Struct("=7I")
"""Size in bytes, request or response, tag, room for the value, length of the value, the value, end (vcio.c)."""
_PROPERTY = (3 << 30) | (struct.calcsize("P") << 16) | (100 << 8)
"""_IOWR(100, 0, char *): the size of a pointer is that of this process, 4 bytes on a 32-bit system."""

AskMailbox = Callable[[Path, bytearray], None]
AskTool = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a board says at one moment; None is not told. `had_...`: since boot, as far as it remembers."""

    method: str
    undervoltage: bool | None = None
    throttled: bool | None = None
    had_undervoltage: bool | None = None
    had_throttled: bool | None = None


VALUES = ("undervoltage", "throttled", "had_undervoltage", "had_throttled")

Read = Callable[[], Reading | None]


class Told(NamedTuple):
    """A value, and who says so."""

    value: bool
    method: str


def sources(root: Path, ask_tool: AskTool | None = None, ask_mailbox: AskMailbox | None = None) -> list[Read]:
    """Every way to ask that this board has, the one that tells most first; `root` stands for /."""
    mailbox = ask_mailbox or _ask_mailbox
    firmware: list[Read] = [
        lambda: from_mailbox(root / "dev/vcio", mailbox),
        *(_of_file(path) for path in _firmware_files(root)),
        *([] if ask_tool is None else [Rarely(lambda: from_tool(ask_tool))]),
    ]
    others: list[Read] = [lambda: from_alarm(root), lambda: from_cooling(root), X86Counts(root)]
    first = next((read for read in firmware if read() is not None), None)
    return [read for read in ([] if first is None else [first]) + others if read() is not None]


def combined(readings: list[Reading]) -> dict[str, Told]:
    """What several sources say together, by value: the first that tells it, but of under-voltage any."""
    every: dict[str, list[Told]] = {}
    for reading in readings:
        for name in VALUES:
            value = getattr(reading, name)
            if value is not None:
                every.setdefault(name, []).append(Told(value, reading.method))
    return {name: _any(told) if name == "undervoltage" else told[0] for name, told in every.items()}


def _any(told: list[Told]) -> Told:
    return Told(any(each.value for each in told), " + ".join(each.method for each in told))


def of_word(word: int, method: str) -> Reading:
    """The firmware's word of a Raspberry Pi."""
    had = word >> STICKY
    return Reading(
        method, bool(word & UNDERVOLTAGE), bool(word & THROTTLED), bool(had & UNDERVOLTAGE), bool(had & THROTTLED)
    )


def from_mailbox(device: Path, ask: AskMailbox) -> Reading | None:
    """From the firmware's mailbox; None without one, without the right to use it (group `video`), or without an answer.

    The value sent is 0: it is a mask of what to clear, and this only looks.
    """
    message = bytearray(_MESSAGE.pack(_MESSAGE.size, 0, _TAG, 4, 4, 0, 0))
    try:
        ask(device, message)
    except OSError:
        return None
    _, answer, _, _, _, word, _ = _MESSAGE.unpack(message)
    return of_word(word, "firmware mailbox") if answer == _DONE else None


def from_tool(ask: AskTool) -> Reading | None:
    """From `vcgencmd get_throttled`, which says `throttled=0x50000`."""
    name, _, word = (ask("get_throttled") or "").strip().partition("=")
    return _of_hex(word, "vcgencmd get_throttled") if name == "throttled" else None


def from_alarm(root: Path) -> Reading | None:
    """From the kernel's own watch of a Raspberry Pi's supply, which looks every 2 s."""
    for chip in sysfs.folders(root / "sys/class/hwmon", "hwmon"):
        if sysfs.read_text(chip / "name") == "rpi_volt":
            alarm = sysfs.read_int(chip / "in0_lcrit_alarm")
            return None if alarm is None else Reading("hwmon rpi_volt", undervoltage=alarm != 0)
    return None


def from_cooling(root: Path) -> Reading | None:
    """From the cooling devices that cap a processor's frequency. A state is positive where one is at work."""
    states = [
        state
        for device in sysfs.folders(root / "sys/class/thermal", "cooling_device")
        if (sysfs.read_text(device / "type") or "").startswith(("thermal-cpufreq", "cpufreq", "Processor"))
        and (state := sysfs.read_int(device / "cur_state")) is not None
    ]
    return Reading("cpu cooling devices", throttled=any(state > 0 for state in states)) if states else None


class Rarely:
    """A source that costs a process: it is asked again after `TOOL_PAUSE_S`, and said the same until then."""

    def __init__(self, read: Read, clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock = read, clock
        self._due = -TOOL_PAUSE_S
        self._last: Reading | None = None

    def __call__(self) -> Reading | None:
        """See `Reading`."""
        if self._clock() >= self._due:
            self._last, self._due = self._read(), self._clock() + TOOL_PAUSE_S
        return self._last


class X86Counts:
    """The counts of an x86 processor: at work now if one has risen since it was asked last."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._before: int | None = None

    def __call__(self) -> Reading | None:
        """See `Reading`; None where the processor does not count."""
        names = ("core_throttle_count", "package_throttle_count")
        cores = sysfs.folders(self._root / "sys/devices/system/cpu", "cpu")
        counts = [sysfs.read_int(core / "thermal_throttle" / name) for core in cores for name in names]
        known = [count for count in counts if count is not None]
        if not known:
            return None
        before, self._before = self._before, sum(known)
        rose = before is not None and self._before > before
        return Reading("thermal_throttle counts", throttled=rose, had_throttled=self._before > 0)


def _firmware_files(root: Path) -> list[Path]:
    """`soc/soc:firmware` on a Raspberry Pi up to 4; the nodes of a Raspberry Pi 5 are called `soc@107c000000`."""
    return sorted((root / "sys/devices/platform").glob("*/*:firmware/get_throttled"))


def _of_file(path: Path) -> Read:
    return lambda: _of_hex(sysfs.read_text(path) or "", "sysfs get_throttled")


def _of_hex(text: str, method: str) -> Reading | None:
    try:
        return of_word(int(text, 16), method)
    except ValueError:
        return None


def _ask_mailbox(device: Path, message: bytearray) -> None:
    file = os.open(device, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.ioctl(file, _PROPERTY, message, True)
    finally:
        os.close(file)
