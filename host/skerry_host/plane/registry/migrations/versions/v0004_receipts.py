"""Adds receipts: which reports of each boot are stored. Existing reports are entered."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ISLANDS = """
    SELECT device, boot, MIN(sequence), MAX(sequence), MAX(received) FROM (
        SELECT device, boot, sequence, received,
               sequence - ROW_NUMBER() OVER (PARTITION BY device, boot ORDER BY sequence) AS island
        FROM reports
    ) AS numbered
    GROUP BY device, boot, island ORDER BY device, boot, MIN(sequence)
"""


def upgrade() -> None:
    """Apply."""
    receipts = op.create_table(
        "receipts",
        sa.Column("device", sa.String(length=41), nullable=False),
        sa.Column("boot", sa.Text(), nullable=False),
        sa.Column("spans", sa.LargeBinary(), nullable=False),
        sa.Column("closed", sa.BigInteger(), nullable=False),
        sa.Column("touched", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.id"]),
        sa.PrimaryKeyConstraint("device", "boot"),
    )
    op.create_index("ix_receipts_touched", "receipts", ["touched"], unique=False)
    boots: dict[tuple[str, str], dict[str, object]] = {}
    spans: dict[tuple[str, str], list[list[int]]] = {}
    for device, boot, first, last, received in op.get_bind().execute(sa.text(ISLANDS)):
        known = spans.setdefault((device, boot), [])
        known.append([first if known else 0, last])
        boots[device, boot] = {"device": device, "boot": boot, "closed": 0, "touched": received}
    rows = [{**row, "spans": json.dumps(spans[key]).encode()} for key, row in boots.items()]
    if rows:
        op.bulk_insert(receipts, rows)
