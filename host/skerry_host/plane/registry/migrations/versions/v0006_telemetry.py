"""Telemetry in one compact row a report, and in roll-ups; receipts become what is known of each boot.

What is there is converted by `telemetry.conversion`.
"""

import time

import sqlalchemy as sa
from alembic import op

from skerry_host.plane.registry.telemetry import conversion

revision = "0006"
down_revision = "0005"

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    _make()
    conversion.convert(op.get_bind(), time.time())
    for table in ("samples", "model_stats", "reports", "receipts"):
        op.drop_table(table)


def _make() -> None:
    op.create_table(
        "boots",
        sa.Column("id", KEY, autoincrement=False, nullable=False),
        sa.Column("device", sa.String(length=41), nullable=False),
        sa.Column("boot", sa.Text(), nullable=False),
        sa.Column("spans", sa.LargeBinary(), nullable=False),
        sa.Column("rolled_up", sa.LargeBinary(), nullable=False),
        sa.Column("closed", sa.BigInteger(), nullable=False),
        sa.Column("newest", sa.BigInteger(), nullable=False),
        sa.Column("newest_ended", sa.Float(precision=53), nullable=False),
        sa.Column("zero_by_arrival", sa.Float(precision=53), nullable=False),
        sa.Column("zero_by_clock", sa.Float(precision=53), nullable=True),
        sa.Column("touched", sa.Float(precision=53), nullable=False),
        sa.Column("due", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_boots_device_newest_ended", "boots", ["device", "newest_ended"], unique=False)
    op.create_index("ix_boots_due", "boots", ["due"], unique=False)
    op.create_table(
        "telemetry_reports",
        sa.Column("boot", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("started", sa.Float(precision=53), nullable=True),
        sa.Column("received", sa.Float(precision=53), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("boot", "sequence"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "telemetry_blocks",
        sa.Column("id", KEY, nullable=False),
        sa.Column("device", sa.String(length=41), nullable=False),
        sa.Column("period_s", sa.BigInteger(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("device", "period_s", "started"),
    )
    op.create_index("ix_telemetry_blocks_period_s_started", "telemetry_blocks", ["period_s", "started"], unique=False)
