"""What an accelerator was like when it last worked, and what its library said of itself in this boot, on disk."""

from pathlib import Path

from msgspec import Struct

from skerry_agent.state.disk import read_record, write_record
from skerry_agent.wire.admission import Accelerator

FILE = "accelerator.json"


class KnownAccelerator(Struct, frozen=True, omit_defaults=True):
    """`good` is the tuple with which a model last served there; `asked` what was read in the boot of that id."""

    good: Accelerator | None = None
    asked: Accelerator | None = None
    boot: str = ""


def read_known(state: Path) -> KnownAccelerator:
    """What is known; nothing on a device that never had one. Raises `DiskError` or `OSError` when it cannot be used."""
    return read_record(state / FILE, KnownAccelerator) or KnownAccelerator()


def write_known(state: Path, known: KnownAccelerator) -> None:
    """Keep it in place of what was known. Raises `OSError`."""
    write_record(state / FILE, known)
