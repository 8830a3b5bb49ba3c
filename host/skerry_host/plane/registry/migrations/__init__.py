"""Alembic migrations of the registry; run by `migrate.upgrade`."""

HEAD = "0005"
"""The newest revision: a registry that is there needs no migration, nor the time to load what migrates."""
