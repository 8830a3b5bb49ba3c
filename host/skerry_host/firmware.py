"""Finds files of firmware_configs: beside the installed package, else in the source checkout. Reads none of them."""

from pathlib import Path

from skerry_agent.wire.errors import SkerryError


def firmware_file(*parts: str) -> Path:
    """The path of a file or folder of firmware_configs; raises `SkerryError` where this installation has none."""
    here = Path(__file__).resolve().parent
    places = [folder.joinpath("firmware_configs", *parts) for folder in (here, here.parents[1])]
    for place in places:
        if place.exists():
            return place
    raise SkerryError(f"{places[-1]} is missing", hint="install skerry-host again", code="incomplete_install")
