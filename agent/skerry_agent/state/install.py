"""A release from a folder or USB stick, as `skerry release export` writes it: `release.json` and files named by sha256.

Reads only what an order has to name. Trusts nothing: the updater verifies the signed manifest exactly like one that
came over MQTT, and every file against it.
"""

import os
from pathlib import Path

from msgspec import Struct

from skerry_agent.machine.records import Deployment
from skerry_agent.state.disk import read_regular
from skerry_agent.wire import codec
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.envelope import Envelope
from skerry_agent.wire.errors import SkerryError, WireError
from skerry_agent.wire.manifest import Release
from skerry_agent.wire.targets import TargetName

MANIFEST_FILE = "release.json"
RUNTIME_FILE = "runtime.json"
"""The signed manifest of the runtime that an export brings, where it brings one."""
ID_PREFIX = "local-"


class InstallError(SkerryError):
    """The folder cannot be installed from."""

    code = "install"
    exit_code = 2


class Export(Struct, frozen=True):
    """What lies in a folder: the signed manifest's bytes, and what it says, not yet verified.

    `runtime` is the signed manifest of a runtime, None where the folder has none.
    """

    folder: Path
    raw: bytes
    release: Release
    runtime: bytes | None = None


def read_export(folder: Path) -> Export:
    """Read the manifest in a folder. Raises `InstallError` when there is none that could be one."""
    try:
        raw = read_regular(folder / MANIFEST_FILE, codec.MAX_MESSAGE_BYTES + 1)
        there = (folder / RUNTIME_FILE).exists()
        runtime = read_regular(folder / RUNTIME_FILE, codec.MAX_MESSAGE_BYTES + 1) if there else None
        return Export(folder, raw, codec.decode(codec.decode(raw, Envelope).payload, Release), runtime)
    except OSError as error:
        hint = "`skerry release export RELEASE --target T -o DIR` on the host writes one"
        raise InstallError(f"{error.filename or folder / MANIFEST_FILE}: {error.strerror}", hint=hint) from None
    except WireError as error:
        raise InstallError(f"{folder / MANIFEST_FILE} is not a release: {error.message}") from None


def deployment_of(export: Export, targets: tuple[TargetName, ...], known: Deployment | None, now: float) -> Deployment:
    """The deployment that installs an export on a board with these targets, in order of preference.

    `known` is the model's latest deployment: the host's order that this one comes after is not taken up again.
    Raises `InstallError` when the export has no bundle for the board.
    """
    offered = [bundle.target for bundle in export.release.offered]
    target = next((target for target in targets if target in offered), None)
    if target is None:
        there, here = ", ".join(offered), ", ".join(targets)
        raise InstallError(f"{export.release.name} has bundles for {there}; this board runs {here}")
    return Deployment(
        id=f"{ID_PREFIX}{os.urandom(6).hex()}",
        release=export.release.name,
        target=target,
        manifest=describe(export.raw),
        ordered_at=now,
        folder=str(export.folder.absolute()),
        after=(known.after or known.id) if known is not None else "",
        runtime=describe(export.runtime) if export.runtime is not None else None,
    )
