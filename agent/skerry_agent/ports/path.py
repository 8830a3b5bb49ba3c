"""The environment of a child process that imports from a folder before all others: a runtime beside the base one's."""

import os


def with_path(folder: str) -> dict[str, str]:
    """The environment of a child that imports from a folder before all others; of this one where it is empty."""
    if not folder:
        return dict(os.environ)
    path = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path}
