"""What goes where on a boot partition, by what is there: whoever has put a file there keeps it. Pure.

user-data or meta-data is there    cloud-init reads this partition: vendor-data is added, which it runs as well
cmdline.txt is there               the kernel's command line runs first-boot.sh, then the board boots again
neither                            a seed of our own: cloud-init reads it where the partition is named CIDATA
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from skerry_host.image.cloud_init import OURS, SEED, VENDOR
from skerry_host.image.errors import BootError
from skerry_host.image.request import ImageFile

FOLDER = "skerry"
CMDLINE = "cmdline.txt"
DECISIVE = (*SEED, VENDOR, CMDLINE)
"""The files at the top of a partition that decide."""

_RUN = (
    f"systemd.run=/boot/firmware/{FOLDER}/first-boot.sh systemd.run_success_action=reboot "
    "systemd.run_failure_action=reboot systemd.unit=kernel-command-line.target"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Files at the top of the partition, those in its folder `skerry`, and for a person how the board runs it."""

    top: tuple[ImageFile, ...]
    inner: tuple[ImageFile, ...]
    starts_by: str


def layout(files: Sequence[ImageFile], there: Mapping[str, bytes]) -> Layout:
    """Where each file goes. Raises `BootError` where somebody else's file is in the way."""
    by_name = {file.path: file for file in files}
    inner = tuple(replace(file, path=f"{FOLDER}/{file.path}") for file in files)
    if there.keys() & {"user-data", "meta-data"} and not _is_ours(there, by_name):
        if b"first-boot.sh" not in there.get(VENDOR, b"first-boot.sh"):
            raise BootError(f"the boot partition has a {VENDOR} of somebody else's", hint="take it away first")
        return Layout((by_name[VENDOR],), inner, f"cloud-init, by {VENDOR}")
    if CMDLINE in there:
        return Layout(
            (ImageFile(CMDLINE, _command_line(there[CMDLINE])),), inner, f"the kernel's command line, {CMDLINE}"
        )
    return Layout(tuple(by_name[name] for name in SEED), inner, "cloud-init, where this partition is named CIDATA")


def _is_ours(there: Mapping[str, bytes], by_name: Mapping[str, ImageFile]) -> bool:
    """Whether an image of before has left the seed: with its meta-data, cloud-init would see nothing new."""
    if there.get("user-data") != by_name["user-data"].content:
        return False
    return there.get("meta-data", b"").startswith(OURS.encode())


def _command_line(before: bytes) -> bytes:
    """With ours at its end, once: first-boot.sh takes away everything from there on. It is one line."""
    kept, _, _ = before.decode("latin-1").strip().partition(f" {_RUN}")
    if not kept or "\n" in kept:
        raise BootError(f"{CMDLINE} on the boot partition is not one line", hint="write the card anew")
    return f"{kept} {_RUN}\n".encode("latin-1")
