"""Bundles on disk: one immutable folder each, made by the updater, read by the runner, removed when unused."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from skerry_agent.records import Slot
from skerry_agent.wire import codec
from skerry_agent.wire.manifest import Bundle

BUNDLE_FILE = "bundle.json"


class BundleFolders:
    """The folder of bundles."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        folder.mkdir(parents=True, exist_ok=True)

    def folder(self, bundle: str) -> Path:
        """Where a bundle lies."""
        return self.root / bundle

    def read(self, slot: Slot) -> Bundle:
        """What the bundle of a slot says of itself. Raises `OSError`, `WireError` when it is gone or damaged."""
        return codec.decode((self.folder(slot.bundle) / BUNDLE_FILE).read_bytes(), Bundle)

    def artifacts(self, slots: Iterable[Slot | None]) -> dict[str, str]:
        """Files at hand, by sha256: the artifacts of every readable slot."""
        have: dict[str, str] = {}
        for slot in slots:
            if slot is not None and (self.folder(slot.bundle) / BUNDLE_FILE).exists():
                folder = self.folder(slot.bundle)
                have |= {a.blob.sha256: str(folder / a.name) for a in self.read(slot).artifacts}
        return have

    def collect(self, keep: Iterable[str]) -> None:
        """Remove every bundle that is not in `keep`, and half-made ones."""
        kept = set(keep)
        for path in self.root.iterdir():
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)
