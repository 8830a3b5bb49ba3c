"""Where a build comes from: hashes of source, recipe and data, and the versions of the tools. Reads no model."""

import platform
from datetime import datetime
from importlib import metadata

from skerry_agent.wire.manifest import Provenance
from skerry_host.builder.recipe.recipe import LoadedRecipe
from skerry_host.builder.sources.load import SourceModel, identity

TOOLS = ("litert-quantizer", "ai-edge-litert", "numpy", "skerry-host")


def provenance(now: datetime, loaded: LoadedRecipe, source: SourceModel) -> Provenance:
    """What a later reader needs to make the same build again."""
    data = {"calibration": loaded.calibration, "evaluation": loaded.evaluation}
    return Provenance(
        source_sha256=source.sha256,
        recipe_sha256=loaded.sha256,
        tools=_tools(),
        built_at=now.isoformat(timespec="seconds"),
        data_sha256={name: identity(path)[0] for name, path in data.items()},
    )


def _tools() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for tool in TOOLS:
        try:
            versions[tool] = metadata.version(tool)
        except metadata.PackageNotFoundError:  # run from a checkout that is not installed
            versions[tool] = "source"
    return versions
