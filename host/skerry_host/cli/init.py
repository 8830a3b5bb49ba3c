"""`skerry init`: creates a home."""

import click

from skerry_host.cli.common import emit, json_option, registry
from skerry_host.home import init_home


@click.command()
@json_option
def init(as_json: bool) -> None:
    """Create a home: release store, signing keys, registry. What exists already is kept."""
    home = init_home()
    with registry(home):
        pass
    emit({"home": str(home.root)}, as_json, lambda: f"home {home.root} is ready; next: skerry serve")
