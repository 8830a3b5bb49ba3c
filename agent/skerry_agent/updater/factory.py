"""Verifies the factory release of a model, and chooses the first of its bundles that this device can run."""

import hashlib
from pathlib import Path

from skerry_agent.machine.records import FACTORY, Slot, Spare
from skerry_agent.ports.interfaces import Trust
from skerry_agent.ports.jobs import Answer, FactoryJob, FactoryReady, Refusal
from skerry_agent.state.disk import read_regular
from skerry_agent.state.factory import named_by_content
from skerry_agent.state.install import MANIFEST_FILE
from skerry_agent.updater.files import has_hash
from skerry_agent.updater.verify import release_in
from skerry_agent.wire import codec
from skerry_agent.wire.manifest import Bundle
from skerry_agent.wire.targets import TARGETS


def find_factory(job: FactoryJob, trust: Trust) -> Answer:
    """Verify it where it lies: nothing is copied, so that it also serves on a disk that takes nothing.

    Raises `TrustError`, `WireError`, `OSError`.
    """
    raw = read_regular(Path(job.folder) / MANIFEST_FILE, codec.MAX_MESSAGE_BYTES + 1)
    manifest = release_in(raw, trust)
    if manifest.model != job.model:
        return Refusal("rejected", "wrong_release", f"it is of model {manifest.model}, not {job.model}")
    whole, faults = [], []
    for target in (bundle.target for wanted in job.targets for bundle in manifest.offered if bundle.target == wanted):
        bundle = named_by_content(manifest.bundle(target))
        wrong = [a.role for a in bundle.artifacts if not has_hash(Path(job.folder) / a.name, a.blob.sha256)]
        if not wrong:
            whole.append(bundle)
        else:
            faults.append(f"the {', '.join(wrong)} of its {target} bundle are missing or damaged")
    if whole:
        return FactoryReady(_slot(manifest.name, FACTORY + job.model, hashlib.sha256(raw).hexdigest(), whole))
    detail = "; ".join(faults) or f"it has no bundle for {', '.join(job.targets)}"
    return Refusal("failed", "factory_unfit", f"{manifest.name}: {detail}")


def _slot(release: str, folder: str, manifest_sha256: str, whole: list[Bundle]) -> Slot:
    """The first bundle, and beside one for an accelerator what serves in its place."""
    first = whole[0]
    fallback = TARGETS[first.target].fallback
    spare = next((Spare(folder, b.target, b.model.blob.sha256) for b in whole if b.target == fallback), None)
    return Slot(folder, release, first.target, manifest_sha256, first.model.blob.sha256, spare=spare)
