"""The heartbeat of the plane: which process serves this registry, and when it last said so."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "heartbeats",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.Column("ticked", sa.Float(precision=53), nullable=False),
        sa.Column("started", sa.Float(precision=53), nullable=False),
        sa.Column("stopped", sa.Float(precision=53), nullable=True),
        sa.Column("instance", sa.String(length=32), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("boot", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
