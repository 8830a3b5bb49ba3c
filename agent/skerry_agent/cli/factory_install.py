"""`skerry-agent install --factory FOLDER`: verify an export and keep it as its model's factory release.

At every instant either the old or the new factory release is complete: files are named by their content, so both sets
lie side by side until the manifest is replaced atomically. Works with or without a running agent.
"""

from collections.abc import Iterable
from pathlib import Path

from skerry_agent.config import AgentConfig
from skerry_agent.ports.interfaces import Trust
from skerry_agent.ports.jobs import FactoryJob, FactoryReady
from skerry_agent.state.disk import DiskError, copy_durably, locked, make_folder, sha256_of, write_atomic
from skerry_agent.state.factory import named_by_content
from skerry_agent.state.install import MANIFEST_FILE, Export, InstallError, read_export
from skerry_agent.updater.perform import perform
from skerry_agent.wire.targets import TargetName


def install_factory(config: AgentConfig, trust: Trust, source: Path) -> str:
    """Keep the release in `source`; its name.

    Raises `InstallError` when it is not an export, not verified or not for this board; `OSError` on a disk error.
    """
    export = read_export(source)
    targets = _verified(export, trust, config.board.targets)
    folder = config.factory_dir / export.release.model
    make_folder(folder)
    with locked(folder, f"another install works on {folder}"):
        names = _names(export, targets)
        for name in names:
            _keep(source / name, folder / name)
        write_atomic(folder / MANIFEST_FILE, export.raw)
        _tidy(folder, {*names, MANIFEST_FILE})
    return export.release.name


def _verified(export: Export, trust: Trust, targets: Iterable[TargetName]) -> list[TargetName]:
    """The targets of this board whose files are all there and right."""
    release, verified, why = export.release, [], ""
    for target in targets:
        answer = perform(FactoryJob(release.model, str(export.folder), (target,)), trust)
        if isinstance(answer, FactoryReady) and answer.slot.release == release.name:
            verified.append(target)
        else:
            why = why or str(getattr(answer, "detail", ""))
    if not verified:
        raise InstallError(f"{export.folder} cannot be used as a factory release: {why}")
    return verified


def _names(export: Export, targets: list[TargetName]) -> list[str]:
    bundles = [named_by_content(export.release.bundle(target)) for target in targets]
    return sorted({artifact.name for bundle in bundles for artifact in bundle.artifacts})


def _keep(source: Path, target: Path) -> None:
    """Copy a file named by its content, unless a whole one is there. Raises `DiskError` if the copy differs."""
    if target.exists() and sha256_of(target) == target.name:
        return
    copy_durably(source, target)
    if sha256_of(target) != target.name:
        raise DiskError(f"{target} differs from what was written", hint="the disk corrupts files: replace it")


def _tidy(folder: Path, keep: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in keep:
            path.unlink()
