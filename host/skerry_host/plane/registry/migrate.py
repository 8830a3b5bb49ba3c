"""Brings a registry's schema up to date, in one transaction. Loaded only when there is something to do."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from skerry_host.plane.errors import RegistryError


def upgrade(connection: Connection, name: str) -> None:
    """Apply what is missing; raises `RegistryError` when the registry is newer than this Skerry."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        hint = "it was written by a newer Skerry: use that, or restore a backup"
        raise RegistryError(f"cannot migrate the registry {name}: {error}", hint=hint) from None
