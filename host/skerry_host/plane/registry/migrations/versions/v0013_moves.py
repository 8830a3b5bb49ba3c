"""Devices of the old way that are offered an identity. Counted as changes of identities: who comes the old way follows.

That an offer has been signed is no such change.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "moves",
        sa.Column("device", sa.String(length=41), nullable=False),
        sa.Column("claim", sa.BigInteger(), nullable=False),
        sa.Column("offer", sa.LargeBinary(), nullable=False),
        sa.Column("signed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.id"]),
        sa.PrimaryKeyConstraint("device"),
    )
    postgresql = op.get_bind().dialect.name == "postgresql"
    for event in ("INSERT", "DELETE"):
        op.execute(sa.text(_postgresql(event) if postgresql else _sqlite(event)))


def _sqlite(event: str) -> str:
    count = "UPDATE changes SET number = number + 1 WHERE kind = 'identities'"
    return f"CREATE TRIGGER moves_{event.lower()}_counted AFTER {event} ON moves FOR EACH ROW BEGIN {count}; END"


def _postgresql(event: str) -> str:
    call = "EXECUTE FUNCTION count_change('identities')"
    return f"CREATE TRIGGER moves_{event.lower()}_counted AFTER {event} ON moves FOR EACH STATEMENT {call}"
