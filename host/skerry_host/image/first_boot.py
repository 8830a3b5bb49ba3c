"""The parts `first-boot.sh` and `image.env`: the script that makes a board a device, and what it needs to know.

The script is the same in every folder; what differs is in image.env, as lines of NAME='value' for a shell.
"""

import hashlib
from collections.abc import Iterator

from skerry_host.firmware import firmware_file
from skerry_host.image.request import PROGRAM, ImageFile, ImageRequest

SPARE_KB = 64 * 1024
"""Left free on the board beside what is installed."""


def files(request: ImageRequest) -> Iterator[ImageFile]:
    """The script, and its settings."""
    yield ImageFile("first-boot.sh", firmware_file("image", "first-boot.sh").read_bytes(), mode=PROGRAM)
    lines = [f"{name}='{value}'\n" for name, value in _settings(request).items()]
    yield ImageFile("image.env", "".join(["# What first-boot.sh needs to know of this image.\n", *lines]).encode())


def _settings(request: ImageRequest) -> dict[str, str]:
    """Values of plain words: names of machines and modules, numbers and hexadecimal digits."""
    wheelhouse = request.ordered.wheelhouse
    return {
        "MACHINE": wheelhouse.machine,
        "PYTHONS": " ".join(wheelhouse.pythons),
        "NEEDS_KB": str(needs_kb(request)),
        "WHEELS": hashlib.sha256(wheelhouse.requirements().encode()).hexdigest()[:16],
        "IMPORTS": " ".join(wheelhouse.imports),
        "EXPIRES": str(int(request.expires)) if request.expires is not None else "",
        **request.extra,
    }


def needs_kb(request: ImageRequest) -> int:
    """What the environment takes on the board: files and their compiled form, which is about a quarter more."""
    return request.ordered.wheelhouse.unpacked() * 5 // 4 // 1024 + SPARE_KB
