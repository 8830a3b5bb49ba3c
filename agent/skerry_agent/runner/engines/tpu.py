"""Finds Edge TPUs: by libedgetpu's C API, by sysfs, by USB ids. Loads no model; opens no device by itself.

The C API is called only in a process that may crash (`tpu_probe`): a libedgetpu that does not match its runtime crashes
it. sysfs and USB ids need no library, and tell a missing driver from a missing device. Not run on hardware.
"""

import ctypes
import importlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from skerry_agent.ports.edgetpu_devices import by_system

LIBRARY = "libedgetpu.so.1"
_TYPES = {0: "pci", 1: "usb"}
"""edgetpu_device_type of edgetpu_c.h."""


class Found(Struct, frozen=True):
    """What a driver says: its version line, devices as `usb:path` or `pci:path`, and who was asked."""

    version: str
    devices: tuple[str, ...]
    driver: str = LIBRARY

    @property
    def runtime(self) -> int | None:
        """The runtime version; None if it is not said. A driver refuses models that were compiled for a newer one."""
        match = re.search(r"RuntimeVersion\((\d+)\)", self.version)
        return int(match.group(1)) if match else None

    @property
    def about(self) -> str:
        """The driver in a few words."""
        runtime = f" runtime {self.runtime}" if self.runtime else ""
        return f"libedgetpu{runtime}" + (" by pycoral" if self.driver == "pycoral" else "")


class Driver(Protocol):
    """A way to the Edge TPUs. What it raises is not ours, and it may crash."""

    name: str

    def find_devices(self) -> Found:
        """What there is, in use or not."""

    def delegate(self, index: int) -> Any:
        """Open the device with this place in the list. Raises `ValueError` when it is in use or does not answer."""


class Library:
    """libedgetpu itself, opened by an interpreter module's `load_delegate`."""

    def __init__(self, name: str, interpreter_module: str) -> None:
        self.name = name
        self._interpreter_module = interpreter_module

    def find_devices(self) -> Found:
        """See `by_library`."""
        return by_library(self.name)

    def delegate(self, index: int) -> Any:
        """See `Driver.delegate`. `:N` is libedgetpu's own way to name a device, in the order of its list."""
        module = importlib.import_module(self._interpreter_module)
        return module.load_delegate(self.name, {"device": f":{index}"})


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("path", ctypes.c_char_p)]


def by_library(library: str) -> Found:
    """Ask libedgetpu. Raises `OSError` when it cannot be loaded or lacks the functions; it may crash: use a child."""
    loaded = ctypes.CDLL(library)
    try:
        version, listing, free = loaded.edgetpu_version, loaded.edgetpu_list_devices, loaded.edgetpu_free_devices
    except AttributeError as error:
        raise OSError(f"{library} is not a libedgetpu: {error}") from None
    version.restype, version.argtypes = ctypes.c_char_p, []
    listing.restype, listing.argtypes = ctypes.POINTER(_Device), [ctypes.POINTER(ctypes.c_size_t)]
    free.restype, free.argtypes = None, [ctypes.POINTER(_Device)]
    count = ctypes.c_size_t(0)
    devices = listing(ctypes.byref(count))
    names = [f"{_TYPES.get(devices[i].type, 'unknown')}:{devices[i].path.decode()}" for i in range(count.value)]
    if count.value:
        free(devices)
    return Found((version() or b"").decode(), tuple(names), library)


def not_loaded(words: str, library: str) -> tuple[str, str]:
    """(code, the library that is lacking) of a libedgetpu that could not be loaded, by what the loader said.

    It is not there; or it is, and of no use: for another architecture or C library, or without what it needs itself.
    """
    lacking = re.match(r"(\S+): cannot open shared object file", words)
    if lacking is None:
        return "driver_unfit", ""
    return ("driver_absent", "") if lacking[1] == library else ("driver_unfit", lacking[1])


def absence(root: Path = Path("/"), may_open: Callable[[str, Path], bool] | None = None) -> tuple[str, str]:
    """(code, words) where libedgetpu finds no device: the kernel may show one that may not be opened, or is silent."""
    seen = by_system(root)
    if not seen:
        return "device_absent", "no Edge TPU is connected"
    if (may_open or may_be_opened)(seen[0], root):
        return "device_silent", f"the Edge TPU {seen[0]} is connected, but libedgetpu does not find it"
    return "device_forbidden", f"the Edge TPU {seen[0]} is connected, but this user may not open it"


def may_be_opened(seen: str, root: Path = Path("/")) -> bool:
    """Whether this user may open a device that the kernel shows, by the mode of its file; one without a file it may."""
    kind, _, place = seen.partition(":")
    path = root / place.lstrip("/") if kind == "pci" else _node(Path(place), root)
    return path is None or not path.exists() or os.access(path, os.R_OK | os.W_OK)


def _node(device: Path, root: Path) -> Path | None:
    """The file of a USB device, by the numbers that the kernel has given it."""
    try:
        bus, number = (int((device / name).read_text()) for name in ("busnum", "devnum"))
    except (OSError, ValueError):
        return None
    return root / f"dev/bus/usb/{bus:03}/{number:03}"
