"""Opens a bundle's file so that the bytes checked are the bytes used: one open file, hashed and then read."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from skerry_agent.ports.runner_protocol import Job
from skerry_agent.runner.errors import EngineError
from skerry_agent.wire.manifest import Artifact


@contextlib.contextmanager
def open_checked(job: Job, artifact: Artifact) -> Iterator[str]:
    """A path to the checked file itself, even if another is put under its name meanwhile; valid within the block.

    Raises `EngineError` when the file does not have the manifest's hash, `OSError` when it is not there.
    """
    with (Path(job.bundle_dir) / artifact.name).open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != artifact.blob.sha256:
            raise EngineError(f"{artifact.name} does not have the hash of its manifest", code="damaged")
        # With the process id, not `self`: an engine may probe the model in a child of its own.
        yield f"/proc/{os.getpid()}/fd/{file.fileno()}"
