"""The factory release of a model: a folder as `skerry release export` writes it, installed before anything else.

It is the fallback after current and previous, in separate files that garbage collection never touches. Here it is only
read: the updater verifies it, exactly like an install, before it may become a slot; from then on the slot's hash of the
signed manifest binds every file of it.
"""

import contextlib
import hashlib
from pathlib import Path

from msgspec.structs import replace

from skerry_agent.machine.records import FACTORY, Slot
from skerry_agent.state.disk import DiskError, read_regular
from skerry_agent.state.install import MANIFEST_FILE, InstallError, read_export
from skerry_agent.wire import codec
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.manifest import Bundle, Release
from skerry_agent.wire.names import is_model_name


class FactoryFolder:
    """The folder of factory releases, one subfolder a model. It may be on a read-only disk, or not be there at all."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, bundle: str) -> Path:
        """Where the bundle of a factory slot lies."""
        return self.root / bundle.removeprefix(FACTORY)

    def models(self) -> set[str]:
        """Models that have one, verified or not."""
        with contextlib.suppress(OSError):
            return {
                path.parent.name for path in self.root.glob(f"*/{MANIFEST_FILE}") if is_model_name(path.parent.name)
            }
        return set()

    def release(self, model: str) -> str | None:
        """What it says it is, not verified; None where there is none or nothing to be read."""
        with contextlib.suppress(InstallError):
            return read_export(self.root / model).release.name
        return None

    def read(self, slot: Slot) -> Bundle:
        """The bundle of a factory slot. Raises `DiskError` when its manifest is no longer what was verified."""
        path = self.folder(slot.bundle) / MANIFEST_FILE
        try:
            raw = read_regular(path, codec.MAX_MESSAGE_BYTES + 1)
            if hashlib.sha256(raw).hexdigest() == slot.manifest_sha256:
                return named_by_content(codec.decode(codec.decode(raw, Envelope).payload, Release).bundle(slot.target))
        except FileNotFoundError:
            raise DiskError(f"{path} is missing", hint="install a factory release again", code="bundle_gone") from None
        except OSError as error:
            raise DiskError(f"{path} cannot be read: {error.strerror}", code="unreadable_record") from None
        except WireError as error:
            raise DiskError(f"{path} has an unknown format: {error.message}", code="foreign_record") from None
        raise DiskError(f"{path} has changed since it was verified", hint="install it again", code="damaged_record")


def named_by_content(bundle: Bundle) -> Bundle:
    """A bundle as an export holds it: each file is named by its sha256."""
    return replace(bundle, artifacts=tuple(replace(a, name=a.blob.sha256) for a in bundle.artifacts))
