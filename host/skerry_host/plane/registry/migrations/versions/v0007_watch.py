"""Orders that have a duration: how long a device is to be watched."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Apply."""
    op.add_column("orders", sa.Column("seconds", sa.Float(precision=53), nullable=True))
