"""A deployment's runtime: verifies its manifest, says what of it is to be fetched, installs it, and has it probed.

The manifest is signed by the release key, like that of a model. Its folder is named by the manifest's hash; one that is
damaged is not touched, for a runner may work from it: another one is made beside it.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from skerry_agent.machine.records import SlotRuntime
from skerry_agent.ports.interfaces import Trust
from skerry_agent.ports.jobs import Refusal, RuntimeOrder
from skerry_agent.ports.probe import Probe, probe
from skerry_agent.state.runtimes import PLACE, Place, folder_name
from skerry_agent.updater import wheelhouse
from skerry_agent.updater.errors import RefusedError
from skerry_agent.updater.room import Room
from skerry_agent.wire import codec, envelope
from skerry_agent.wire.blobs import BlobRef
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.runtimes import RuntimeManifest, Wheelhouse, kind_issue, older_glibc

MAX_FOLDERS = 8
"""Of one runtime: the second is made where the first has been damaged, and so on."""

TakeProbe = Callable[[RuntimeOrder, Wheelhouse, Path, str], Probe]


@dataclass(frozen=True)
class Tools:
    """What installs a runtime and what tries it; the device's own where there is none."""

    pip: wheelhouse.Pip | None = None
    probe: TakeProbe | None = None


OWN = Tools()


@dataclass(frozen=True)
class Ordered:
    """A verified runtime for this device. `raw` is its signed manifest."""

    manifest: RuntimeManifest
    wheelhouse: Wheelhouse
    raw: bytes

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.manifest.kind} {self.manifest.full_name}"


def manifest_in(raw: bytes, trust: Trust, kind: str) -> RuntimeManifest:
    """The manifest in an envelope that the release key signed. Raises `TrustError`, `WireError`."""
    manifest = codec.decode(trust.verify(raw, envelope.RUNTIME, "release"), RuntimeManifest)
    if manifest.kind != kind:
        raise WireError("manifest", [f"{manifest.full_name} is of kind {manifest.kind}, not {kind}"], code="wrong_kind")
    for each in manifest.wheelhouses:
        issue = kind_issue(manifest.kind, frozenset(each.distributions))
        if issue is not None:
            raise WireError("manifest", [f"{manifest.full_name}: {issue}"], code="wrong_kind")
    return manifest


def read_order(order: RuntimeOrder, trust: Trust, place: Place = PLACE) -> Ordered:
    """What is ordered, verified, and its wheelhouse for this device. Raises `TrustError`, `WireError`, `OSError`."""
    raw = Path(order.manifest_file).read_bytes()
    manifest = manifest_in(raw, trust, "runtime")
    found = manifest.wheelhouse(place.machine, place.python)
    if older_glibc(place.glibc, found.glibc):
        issue = f"needs glibc {found.glibc}, and this system has {place.glibc}"
        raise WireError(f"runtime {manifest.full_name}", [issue], code="runtime_needs_glibc")
    return Ordered(manifest, found, raw)


def plan_runtime(order: RuntimeOrder, trust: Trust) -> tuple[BlobRef | None, int]:
    """(what is to be fetched, bytes that it takes on the disk); nothing where it is installed.

    Raises `TrustError`, `WireError`, `OSError`.
    """
    ordered = read_order(order, trust)
    if _installed(order, ordered) is not None:
        return None, 0
    artifact = ordered.wheelhouse.artifact
    return artifact, ordered.wheelhouse.installed_bytes + artifact.size


def stage_runtime(order: RuntimeOrder, blobs: Path, trust: Trust, room: Room, tools: Tools = OWN) -> SlotRuntime:
    """Install it where it is not, and have it probed where no slot runs with it yet.

    Raises `RefusedError`, `TrustError`, `WireError`, `OSError`. What does not work stays until it is collected: it may
    be another model's.
    """
    ordered = read_order(order, trust)
    with wheelhouse.alone(Path(order.folder)):
        folder = _installed(order, ordered) or _install(order, ordered, blobs, room, tools)
    if folder.name not in order.proven:
        _prove(order, ordered, folder, tools.probe or _probe)
    return SlotRuntime(ordered.manifest.full_name, folder.name, order.manifest)


def _install(order: RuntimeOrder, ordered: Ordered, blobs: Path, room: Room, tools: Tools) -> Path:
    folder = _free_folder(order, ordered)
    tar = blobs / ordered.wheelhouse.artifact.sha256
    if not tar.is_file():
        raise RefusedError(Refusal("failed", "missing_blob", f"the wheelhouse of {ordered.title} was not fetched"))
    job = wheelhouse.Installation(tar, ordered.wheelhouse, ordered.raw, folder, ordered.title)
    wheelhouse.install(job, room, tools.pip)
    return folder


def _prove(order: RuntimeOrder, ordered: Ordered, folder: Path, take_probe: TakeProbe) -> None:
    """Raise `RefusedError` unless it works on this very processor."""
    found = take_probe(order, ordered.wheelhouse, folder, ordered.title)
    if not found.reason:
        return
    if found.reason == "interrupted":
        raise RefusedError(Refusal("crashed", "probe_interrupted", found.detail))
    raise RefusedError(Refusal("failed", found.reason, found.detail))


def _probe(order: RuntimeOrder, found: Wheelhouse, folder: Path, title: str) -> Probe:
    builds = ", ".join(f"{name} {version}" for name, version in found.distributions.items() if _is_named(name, found))
    return probe(order.engine, found.imports, str(folder), f"{title} ({builds or found.tag}, {found.tag})")


def _is_named(distribution: str, found: Wheelhouse) -> bool:
    return distribution.replace("-", "_") in found.imports


def _folders(order: RuntimeOrder, ordered: Ordered) -> list[Path]:
    """The names that this runtime's folder may have, in the order of their use."""
    name = folder_name(order.manifest.sha256, ordered.wheelhouse.tag)
    return [Path(order.folder) / (f"{name}.{number}" if number else name) for number in range(MAX_FOLDERS)]


def _installed(order: RuntimeOrder, ordered: Ordered) -> Path | None:
    """Its folder, if one is whole."""
    return next((path for path in _folders(order, ordered) if wheelhouse.is_installed(path, ordered.raw)), None)


def _free_folder(order: RuntimeOrder, ordered: Ordered) -> Path:
    """A name that nothing has: what is there is damaged, and may be in use all the same."""
    folders = _folders(order, ordered)
    free = next((path for path in folders if not path.exists()), None)
    if free is not None:
        return free
    shutil.rmtree(folders[-1], ignore_errors=True)
    return folders[-1]
