"""Counts how often a USB Accelerator left the bus and came back: its supply, its cable or its driver is to blame.

The kernel numbers a device anew whenever it appears (`devnum`, Documentation/ABI/testing/sysfs-bus-usb). A USB
Accelerator appears as 1a6e:089a, gets its firmware and comes back as 18d1:9302; that change is how it begins, and no
reset. A reset of the port that keeps the number shows in the kernel's log only, and is not counted. Not run on
hardware.
"""

from pathlib import Path

from skerry_agent.meters import sysfs
from skerry_agent.wire.telemetry import Sample

NEW, READY = ("1a6e", "089a"), ("18d1", "9302")


class AcceleratorResets:
    """Counts since the agent began; polled, as a stick is back within a second."""

    def __init__(self, root: Path) -> None:
        self._devices = root / "sys/bus/usb/devices"
        self._known = self._ready()
        self._seen = bool(self._present())
        self.count = 0

    def poll(self) -> None:
        """Look now."""
        now = self._ready()
        here = self._present()
        self._seen |= bool(here)
        for port, number in list(self._known.items()):
            if here.get(port) not in {None, number}:
                self.count += 1
                del self._known[port]
        self._known |= now

    def samples(self) -> list[Sample]:
        """`accelerator_resets`, once there was an accelerator."""
        self.poll()
        method = "usb device numbers, since the agent began"
        return [Sample("accelerator_resets", float(self.count), "count", "measured", method)] if self._seen else []

    def _present(self) -> dict[str, int]:
        """By port: the numbers of accelerators, in either of their two forms."""
        return self._numbers((NEW, READY))

    def _ready(self) -> dict[str, int]:
        return self._numbers((READY,))

    def _numbers(self, kinds: tuple[tuple[str, str], ...]) -> dict[str, int]:
        found = {}
        for device in sorted(self._devices.glob("*-*")):
            kind = sysfs.read_text(device / "idVendor"), sysfs.read_text(device / "idProduct")
            number = sysfs.read_int(device / "devnum")
            if kind in kinds and number is not None:
                found[device.name] = number
        return found
