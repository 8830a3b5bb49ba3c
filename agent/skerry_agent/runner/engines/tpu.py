"""Which Edge TPUs there are: by libedgetpu's C API, by sysfs, by USB ids. Loads no model; opens no device by itself.

The C API is asked in a child process only (`python -m skerry_agent.runner.engines.tpu LIBRARY MODULE`): a libedgetpu
that does not fit its runtime takes the process down. sysfs and USB ids need no library, and tell a missing driver from
a missing device.
"""

import ctypes
import json
import re
import sys
from pathlib import Path

from msgspec import Struct

USB_IDS = {("1a6e", "089a"), ("18d1", "9302")}
"""Vendor and product of the USB Accelerator, before and after it has its firmware (libedgetpu, driver/usb)."""
_TYPES = {0: "pci", 1: "usb"}
"""edgetpu_device_type of edgetpu_c.h."""


class Found(Struct, frozen=True):
    """What the C API says: the library's version line, its runtime version, and devices as `usb:path` or `pci:path`."""

    version: str
    devices: tuple[str, ...]

    @property
    def runtime(self) -> int | None:
        """The runtime version, which must be at least what the model was compiled for; None if it is not said."""
        match = re.search(r"RuntimeVersion\((\d+)\)", self.version)
        return int(match.group(1)) if match else None


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("path", ctypes.c_char_p)]


def by_library(library: str) -> Found:
    """Ask libedgetpu. Raises `OSError` when it cannot be loaded or lacks the functions; it may crash: use a child."""
    loaded = ctypes.CDLL(library)
    try:
        version, listing, free = loaded.edgetpu_version, loaded.edgetpu_list_devices, loaded.edgetpu_free_devices
    except AttributeError as error:
        raise OSError(f"{library} is no libedgetpu: {error}") from None
    version.restype, version.argtypes = ctypes.c_char_p, []
    listing.restype, listing.argtypes = ctypes.POINTER(_Device), [ctypes.POINTER(ctypes.c_size_t)]
    free.restype, free.argtypes = None, [ctypes.POINTER(_Device)]
    count = ctypes.c_size_t(0)
    devices = listing(ctypes.byref(count))
    names = [f"{_TYPES.get(devices[i].type, 'unknown')}:{devices[i].path.decode()}" for i in range(count.value)]
    if count.value:
        free(devices)
    return Found((version() or b"").decode(), tuple(names))


def by_system(root: Path = Path("/")) -> list[str]:
    """The devices that the kernel shows, below `root`: `apex_*` on PCIe, and the ids of the USB Accelerator."""
    apex = sorted((root / "sys/class/apex").glob("apex_*"))
    usb = sorted(p.parent for p in (root / "sys/bus/usb/devices").glob("*/idVendor") if _ids(p.parent) in USB_IDS)
    return [*(f"pci:/dev/{path.name}" for path in apex), *(f"usb:{path}" for path in usb)]


def _ids(device: Path) -> tuple[str, str]:
    try:
        return (device / "idVendor").read_text().strip(), (device / "idProduct").read_text().strip()
    except OSError:
        return "", ""


def _child(library: str, module: str) -> None:
    """Say what there is on one line, then make the delegate: whatever goes wrong does so here."""
    import importlib  # noqa: PLC0415

    found = by_library(library)
    print(json.dumps({"version": found.version, "devices": found.devices}), flush=True)  # noqa: T201  (the protocol)
    importlib.import_module(module).load_delegate(library)


if __name__ == "__main__":
    _child(*sys.argv[1:3])
