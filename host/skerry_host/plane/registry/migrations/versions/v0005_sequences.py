"""Numbers the commands to a device, so that it never runs an older one after a newer."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply."""
    op.add_column("orders", sa.Column("sequence", sa.BigInteger(), nullable=True))
