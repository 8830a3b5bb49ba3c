"""The parts user-data, vendor-data, meta-data and network-config: how cloud-init is told to run first-boot.sh.

They work at the top of a boot partition, or of any with the label CIDATA. `boot/layout.py` decides which go there:
network-config never does of itself. Only netplan understands which ports are meant by a pattern, and with none at all
cloud-init takes the port that is connected.
"""

import hashlib
from collections.abc import Iterator

from skerry_host.firmware import firmware_file
from skerry_host.image.request import ImageFile, ImageRequest

SEED = ("user-data", "meta-data")
NETWORK = "network-config"
VENDOR = "vendor-data"
"""Used in place of user-data where a person has put one of theirs."""
OURS = "instance-id: skerry-"
"""How our meta-data begins."""


def files(request: ImageRequest) -> Iterator[ImageFile]:
    """The seed of cloud-init's data source NoCloud, and what a person may add to it."""
    for name in ("user-data", VENDOR, NETWORK):
        yield ImageFile(name, firmware_file("image", name).read_bytes())
    yield ImageFile("meta-data", _meta_data(request).encode())


def _meta_data(request: ImageRequest) -> str:
    """The instance changes with the claim: cloud-init then runs first-boot.sh once more."""
    words = [request.board.name, request.device or "", request.claim or "", repr(request.made)]
    instance = hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]
    host = [f"local-hostname: {request.device}\n"] if request.device else []
    return "".join([f"{OURS}{instance}\n", *host])
