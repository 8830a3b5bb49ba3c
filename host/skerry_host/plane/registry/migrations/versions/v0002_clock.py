"""Adds whose clock a report's `started` is from: the device's, or the host's where the device has none."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply."""
    op.add_column("reports", sa.Column("clock", sa.String(length=8), nullable=False, server_default="device"))
