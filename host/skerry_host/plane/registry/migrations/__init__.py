"""Alembic migrations of the registry; run by `migrate.upgrade`."""

HEAD = "0016"
"""The newest revision: a registry at it needs no migration, and Alembic is not imported."""
