"""Adds the transports of a deployment: retained, asked, http, folder, in the order of their first use."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply."""
    op.add_column("deployments", sa.Column("ways", sa.Text(), nullable=False, server_default=""))
