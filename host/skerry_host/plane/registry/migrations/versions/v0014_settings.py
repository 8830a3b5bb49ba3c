"""What is set on devices from afar: one row a device, with the newest order and those before it."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "settings",
        sa.Column("device", sa.String(length=41), nullable=False),
        sa.Column("order_id", sa.String(length=64), nullable=False),
        sa.Column("orders", sa.LargeBinary(), nullable=False),
        sa.Column("kept", sa.String(length=64), nullable=False),
        sa.Column("trial_s", sa.Float(precision=53), nullable=False),
        sa.Column("signed", sa.Boolean(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("ordered", sa.Float(precision=53), nullable=False),
        sa.Column("heard", sa.Float(precision=53), nullable=True),
        sa.ForeignKeyConstraint(["device"], ["devices.id"]),
        sa.PrimaryKeyConstraint("device"),
    )
    op.create_index("ix_settings_signed", "settings", ["signed"], unique=False)
