"""Where a build comes from: hashes of source, recipe and data, and the versions of the tools. Reads no model."""

import platform
from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
from types import MappingProxyType

from skerry_agent.wire.manifest import Provenance
from skerry_host.builder.recipe.recipe import LoadedRecipe
from skerry_host.builder.sources.load import SourceModel, identity

TOOLS = ("litert-quantizer", "ai-edge-litert", "numpy", "skerry-host")


def provenance(
    now: datetime, loaded: LoadedRecipe, source: SourceModel, data_sha256: Mapping[str, str] = MappingProxyType({})
) -> Provenance:
    """What a later reader needs to make the same build again; without `data_sha256` the data are files."""
    data = {"calibration": loaded.calibration, "evaluation": loaded.evaluation}
    known = dict(data_sha256) or {name: identity(path)[0] for name, path in data.items()}
    return Provenance(
        source_sha256=source.sha256,
        recipe_sha256=loaded.sha256,
        tools=_tools(),
        built_at=now.isoformat(timespec="seconds"),
        data_sha256=known,
    )


def _tools() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for tool in TOOLS:
        try:
            versions[tool] = metadata.version(tool)
        except metadata.PackageNotFoundError:  # run from a checkout that is not installed
            versions[tool] = "source"
    return versions
