"""The sources of a deployment's blobs, in the order in which they are used; the broker is always the last.

A new transport is a file here and an entry of `TRANSPORTS`. Connects nowhere and checks nothing: the fetcher uses the
first source, and goes on with the next one where it fails.
"""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from skerry_agent.fetch.sources import BlobSource, Folder
from skerry_agent.machine.records import Deployment
from skerry_agent.ports.interfaces import Post

Opener = Callable[[Post, Deployment], BlobSource | None]
"""Makes the source of one transport, or None where it has nothing for this deployment."""


def http(post: Post, deployment: Deployment) -> BlobSource | None:
    """The address that the host offers; None where it offers none, or one that cannot be asked."""
    if deployment.http is None:
        return None
    from skerry_agent.fetch.over_http import Http  # noqa: PLC0415 - most devices never need it

    with contextlib.suppress(ValueError):  # the host's mistake: its chunks are there all the same
        return Http(post, deployment.http)
    return None


TRANSPORTS: tuple[Opener, ...] = (http,)
"""Those that are asked before the broker."""


def sources(
    post: Post, deployment: Deployment, broker: BlobSource, transports: Sequence[Opener] = TRANSPORTS
) -> list[BlobSource]:
    """The sources of a deployment: the folder alone where it is installed from one."""
    if deployment.folder is not None:
        return [Folder(post, Path(deployment.folder))]
    found = (opener(post, deployment) for opener in transports)
    return [*(source for source in found if source is not None), broker]
