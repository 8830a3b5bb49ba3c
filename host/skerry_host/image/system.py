"""The part `system/`: the agent as a service of systemd, and the rules that give it the Edge TPU."""

from collections.abc import Iterator

from skerry_host.firmware import firmware_file
from skerry_host.image.request import ImageFile, ImageRequest

FILES = (
    "systemd/skerry-agent.service",
    "systemd/skerry-agent-before-250.conf",
    "systemd/skerry-first-boot.service",
    "udev/99-skerry-coral.rules",
)


def files(_request: ImageRequest) -> Iterator[ImageFile]:
    """The units and rules, as they are in firmware_configs."""
    for name in FILES:
        yield ImageFile(f"system/{name.rpartition('/')[2]}", firmware_file(*name.split("/")).read_bytes())
