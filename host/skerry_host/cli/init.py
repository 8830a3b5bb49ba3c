"""`skerry init`: creates a home."""

import click

from skerry_host.cli.common import emit, json_option, registry, warn
from skerry_host.home import Home, init_home
from skerry_host.plane.registry import place


@click.command()
@click.option("--registry", "url", metavar="URL", help=f"Keep the registry there, and remember it: {place.FORMS}.")
@json_option
def init(url: str | None, as_json: bool) -> None:
    """Create a home: release store, signing keys, registry. What exists already is kept."""
    url = url or for_all_commands()
    if url:
        place.checked(url)  # before anything is made
    home = init_home()
    if url:
        move_to(home, url)
    with registry(home, make=True) as opened:
        name = opened.name
    data = {"home": str(home.root), "registry": name}
    emit(data, as_json, lambda: f"home {home.root} is ready, its registry is {name}; next: skerry serve")


def for_all_commands() -> str | None:
    """The URL of `skerry --registry URL COMMAND`: whoever makes or serves a home with it wants it to be kept."""
    given: str | None = click.get_current_context().find_root().params.get("registry")
    return given


def move_to(home: Home, url: str) -> None:
    """Make `url` the home's registry once it has been opened; raises `RegistryError` where it cannot be."""
    from skerry_host.plane.registry.database import open_registry  # noqa: PLC0415 - keeps `--help` quick

    before = place.remembered(home)
    with open_registry(place.checked(url)):
        pass
    if before != place.checked(url) and (before or home.registry.exists()):
        left = place.shown(before) if before else str(home.registry)
        warn([f"the registry of before, {left}, stays as it is: nothing of it is copied"])
    place.remember(home, url)
