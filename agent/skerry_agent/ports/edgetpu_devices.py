"""Which Edge TPUs the kernel shows, without any library: a device that is not there is told from a driver that is not.

Opens none.
"""

from pathlib import Path

USB_IDS = {("1a6e", "089a"), ("18d1", "9302")}
"""Vendor and product of the USB Accelerator, before and after it has its firmware (libedgetpu, driver/usb)."""


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
