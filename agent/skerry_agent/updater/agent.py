"""Installs a release of the agent beside the one that runs, and proves it there. Switches nothing.

The wheelhouse is fetched, verified and installed as that of a runtime is (`wheelhouse`); `agent_probe` runs it.
"""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from skerry_agent.ports.interfaces import Trust
from skerry_agent.ports.jobs import AgentReady, InstallAgent, PlanAgent, Planned, Refusal
from skerry_agent.state.runtimes import PLACE, Place, folder_name
from skerry_agent.updater import agent_probe
from skerry_agent.updater.errors import RefusedError
from skerry_agent.updater.room import Room
from skerry_agent.updater.runtime import manifest_in
from skerry_agent.updater.wheelhouse import Installation, Pip, install, is_installed
from skerry_agent.wire.blobs import describe
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.runtimes import AGENT_DISTRIBUTION, RuntimeManifest, Wheelhouse, older_glibc


def plan_agent(job: PlanAgent, trust: Trust, place: Place = PLACE) -> Planned:
    """What is to be fetched: the wheelhouse, unless it is installed.

    Raises `RefusedError`, `TrustError`, `WireError`.
    """
    raw = Path(job.manifest_file).read_bytes()
    wheelhouse = _fitting(read_agent_manifest(raw, job.release, trust), place)
    if is_installed(Path(job.root) / folder_name(describe(raw).sha256, place.tag), raw):
        return Planned("full", ())
    return Planned("full", (wheelhouse.artifact,), wheelhouse.installed_bytes + wheelhouse.artifact.size)


Prove = Callable[[Path, InstallAgent], str]
"""(folder, job): the version that the agent in a folder says of itself; raises `RefusedError`."""


def install_agent(
    job: InstallAgent, trust: Trust, room: Room, pip: Pip | None = None, prove: Prove | None = None
) -> AgentReady:
    """Install it, unless it is, and prove it. One that proves unfit is removed again.

    Raises `RefusedError`, `TrustError`, `WireError`, `OSError`.
    """
    raw = Path(job.manifest_file).read_bytes()
    wheelhouse = _fitting(read_agent_manifest(raw, job.release, trust), PLACE)
    folder = Path(job.root) / folder_name(describe(raw).sha256, PLACE.tag)
    was_there = is_installed(folder, raw)
    if not was_there:
        _remove(folder)
        tar = Path(job.blobs_dir) / wheelhouse.artifact.sha256
        if not tar.is_file():
            raise RefusedError(Refusal("failed", "missing_blob", f"the wheelhouse of {job.release} was not fetched"))
        install(Installation(tar, wheelhouse, raw, folder, f"agent {job.release}"), room, pip)
    try:
        version = (prove or agent_probe.probe)(folder, job)
        _check_version(version, wheelhouse, job.release)
    except RefusedError:
        if not was_there:  # the agent before this one is kept, whatever became of it
            _remove(folder)
        raise
    return AgentReady(folder.name, version)


def read_agent_manifest(raw: bytes, release: str, trust: Trust) -> RuntimeManifest:
    """The verified manifest, which must be that of an agent's `release`. Raises `TrustError`, `WireError`."""
    manifest = manifest_in(raw, trust, "agent")
    if manifest.full_name != release:
        raise WireError("manifest", [f"it is of release {manifest.full_name}, not {release}"], code="wrong_release")
    return manifest


def _fitting(manifest: RuntimeManifest, place: Place) -> Wheelhouse:
    """The wheelhouse of this device. Raises `WireError`, `RefusedError`."""
    wheelhouse = manifest.wheelhouse(place.machine, place.python)
    if older_glibc(place.glibc, wheelhouse.glibc):
        detail = f"{manifest.full_name} needs glibc {wheelhouse.glibc}; this device has {place.glibc}"
        raise RefusedError(Refusal("rejected", "agent_needs_glibc", detail))
    return wheelhouse


def _remove(folder: Path) -> None:
    """Take an installation away, at once and as far as the disk allows: the rest is collected later."""
    gone = folder.with_name(f".{folder.name}.gone")
    with suppress(OSError):
        folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _check_version(version: str, wheelhouse: Wheelhouse, release: str) -> None:
    promised = wheelhouse.distributions[AGENT_DISTRIBUTION]
    if version != promised:
        detail = f"{release} says that it is {version}; its manifest says {promised}"
        raise RefusedError(Refusal("rejected", "agent_version", detail))
