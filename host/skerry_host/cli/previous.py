"""Finds the release that a build should stay close to, for small patches: the one named, else the model's newest."""

from dataclasses import dataclass
from pathlib import Path

from skerry_agent.wire.errors import SkerryError
from skerry_agent.wire.manifest import Bundle
from skerry_agent.wire.targets import CPU
from skerry_host.home import home_at
from skerry_host.release.store import Store


@dataclass(frozen=True, slots=True)
class Previous:
    """What devices have of the release before for the cpu: its model and its golden file, None where there is none."""

    model: bytes | None = None
    golden: bytes | None = None


def previous_release(recipe: Path, named: str | None) -> Previous:
    """The release before, if there is one. Raises `SkerryError` when the named one is not there."""
    store = Store(home_at().store)
    if named is not None:
        return _files(store, store.release(named).bundle(CPU.name))
    name = _model_of(recipe)
    for release in reversed(store.releases()):
        if name is not None and release.partition("@")[0] == name:
            bundles = {bundle.target: bundle for bundle in store.release(release).offered}
            return _files(store, bundles[CPU.name]) if CPU.name in bundles else Previous()
    return Previous()


def _files(store: Store, bundle: Bundle) -> Previous:
    golden = bundle.artifact("golden")
    return Previous(store.get(bundle.model.blob.sha256), None if golden is None else store.get(golden.blob.sha256))


def _model_of(recipe: Path) -> str | None:
    """The recipe's model; None for a recipe that cannot be read, because the build itself reports that."""
    from skerry_host.builder.recipe.recipe import load_recipe  # noqa: PLC0415 - keeps `--help` quick

    try:
        return load_recipe(recipe, None).recipe.name
    except SkerryError:
        return None
