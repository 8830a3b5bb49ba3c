"""The serial number of the hardware, by which a host finds the record of a board that enrols. It proves nothing."""

import contextlib
from pathlib import Path

PLACES = (
    "proc/device-tree/serial-number",
    "sys/firmware/devicetree/base/serial-number",
    "sys/class/dmi/id/product_serial",
    "sys/class/dmi/id/board_serial",
)
MOST_CHARS = 128
NO_SERIAL = frozenset(
    {"none", "not specified", "to be filled by o.e.m.", "default string", "system serial number", "0"}
)
"""What makers of boards write where they have none."""


def board_serial(root: Path = Path("/")) -> str:
    """The first that the device tree or DMI has; empty where there is none, or it is root's to read."""
    for place in PLACES:
        with contextlib.suppress(OSError):
            with (root / place).open("rb") as file:
                text = file.read(MOST_CHARS).decode("ascii", "replace").strip("\0 \n")
            if text and text.lower() not in NO_SERIAL:
                return text
    return ""
