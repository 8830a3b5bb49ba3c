"""Bundles on disk: one immutable folder each, made by the updater, read by the runner, removed when unused."""

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from skerry_agent.machine.records import FACTORY, Slot
from skerry_agent.state.disk import DiskError, make_folder, read_record, write_record
from skerry_agent.state.factory import FactoryFolder
from skerry_agent.wire.manifest import Bundle
from skerry_agent.wire.schemas import schema_of

BUNDLE_FILE = "bundle.json"


class _Newer(Struct, frozen=True):
    """How a bundle is kept that an agent of schema 1 would misread: such an agent finds no bundle here.

    So a device whose agent went back to an older one serves what it had before, and not wrong answers.
    """

    schema: int = 1
    bundle: Bundle | None = None


def write_bundle(folder: Path, bundle: Bundle) -> None:
    """Say in a bundle's folder what it is, checksummed. Raises `OSError`."""
    schema = schema_of([bundle])
    write_record(folder / BUNDLE_FILE, bundle if schema == 1 else _Newer(schema, bundle))


def read_bundle(folder: Path) -> Bundle:
    """What a bundle says of itself. Raises `DiskError` when that is gone, damaged or cannot be read."""
    newer = read_record(folder / BUNDLE_FILE, _Newer)
    if newer is not None and newer.bundle is not None:
        return newer.bundle
    bundle = read_record(folder / BUNDLE_FILE, Bundle)
    if bundle is None:
        raise DiskError(f"{folder / BUNDLE_FILE} is gone", hint="order the release again", code="bundle_gone")
    return bundle


class BundleFolders:
    """The folder of bundles, and that of the factory releases, which are never written to here."""

    def __init__(self, folder: Path, factory: Path) -> None:
        self.root = folder
        self.factory = FactoryFolder(factory)
        with contextlib.suppress(OSError):  # a disk that takes nothing: the factory release serves all the same
            make_folder(folder)

    def folder(self, bundle: str) -> Path:
        """Where a bundle lies."""
        return self.factory.folder(bundle) if bundle.startswith(FACTORY) else self.root / bundle

    def read(self, slot: Slot) -> Bundle:
        """What the bundle of a slot says of itself. Raises `DiskError` when it is gone or damaged."""
        return self.factory.read(slot) if slot.factory else read_bundle(self.folder(slot.bundle))

    def artifacts(self, slots: Iterable[Slot | None]) -> dict[str, str]:
        """Files at hand, by the sha256 that they should have: those of every readable slot, and of its spare."""
        have: dict[str, str] = {}
        for each in (each for slot in slots if slot is not None for each in dict.fromkeys((slot.on_spare(), slot))):
            folder = self.folder(each.bundle)
            with contextlib.suppress(DiskError):  # a damaged bundle has nothing to offer
                have |= {a.blob.sha256: str(folder / a.name) for a in self.read(each).artifacts}
        return have

    def collect(self, keep: Iterable[str]) -> None:
        """Remove every bundle that is not in `keep`, and half-made ones, as far as the disk allows."""
        kept = set(keep)
        with contextlib.suppress(OSError):  # what is left is removed the next time
            for path in list(self.root.iterdir()):
                if path.name not in kept:
                    shutil.rmtree(path, ignore_errors=True)
