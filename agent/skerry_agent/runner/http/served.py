"""What the inference API of a job serves. Reads what is beside the model in its bundle's folder: how good it is."""

from pathlib import Path

import msgspec

from skerry_agent.ports.runner_protocol import Job
from skerry_agent.runner.http.oip import Served
from skerry_agent.runner.http.shared_memory import Regions
from skerry_agent.runner.labels import Labels
from skerry_agent.wire.manifest import QUALITY_FILE, Quality
from skerry_agent.wire.names import split_release


def served_of(job: Job, regions: Regions | None) -> Served:
    """The model of a job, with all that its metadata say."""
    _, version = split_release(job.release)
    labels, quality = Labels(job), _quality(Path(job.bundle_dir))
    return Served(job.model, version, job.engine, job.bundle, regions, labels, quality, job.api_values)


def _quality(folder: Path) -> Quality | None:
    """What the host measured, None where it is not known: bundles that an older agent made do not have it."""
    try:
        return msgspec.json.decode((folder / QUALITY_FILE).read_bytes(), type=Quality)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
