"""Finds the release that a build should stay close to, for small patches: the one named, else the model's newest."""

from pathlib import Path

from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.targets import CPU
from skerry_host.home import home_at
from skerry_host.release.store import Store


def previous_model(recipe: Path, named: str | None) -> bytes | None:
    """The cpu model of the release before; None where there is none. Raises `SkerryError` when the named one is not."""
    store = Store(home_at().store)
    if named is not None:
        return store.get(store.release(named).bundle(CPU.name).model.blob.sha256)
    name = _model_of(recipe)
    for release in reversed(store.releases()):
        if name is not None and release.partition("@")[0] == name:
            bundles = {bundle.target: bundle for bundle in store.release(release).bundles}
            return store.get(bundles[CPU.name].model.blob.sha256) if CPU.name in bundles else None
    return None


def _model_of(recipe: Path) -> str | None:
    """The recipe's model; None for a recipe that cannot be read, because the build itself reports that."""
    from skerry_host.builder.recipe.recipe import load_recipe  # noqa: PLC0415 - keeps `--help` quick

    try:
        return load_recipe(recipe, None).recipe.name
    except SkerryError:
        return None
