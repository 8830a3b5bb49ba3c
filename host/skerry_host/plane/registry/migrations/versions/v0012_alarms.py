"""Alarms: what a person must look at, of a device and a kind, for as long as it lasts. Triggers count that they change.

When an alarm was last confirmed is no change: nothing is decided by it but its end.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
KIND = "alarms"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "alarms",
        sa.Column("device", sa.String(length=41), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("since", sa.Float(precision=53), nullable=False),
        sa.Column("last", sa.Float(precision=53), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.id"]),
        sa.PrimaryKeyConstraint("device", "kind"),
    )
    changes = sa.table("changes", sa.column("kind", sa.String), sa.column("number", sa.BigInteger))
    op.bulk_insert(changes, [{"kind": KIND, "number": 0}])
    postgresql = op.get_bind().dialect.name == "postgresql"
    for event in ("INSERT", "DELETE"):
        op.execute(sa.text(_postgresql(event) if postgresql else _sqlite(event)))


def _sqlite(event: str) -> str:
    count = f"UPDATE changes SET number = number + 1 WHERE kind = '{KIND}'"  # noqa: S608 - of the names above
    name = f"{KIND}_{event.lower()}_counted"
    return f"CREATE TRIGGER {name} AFTER {event} ON {KIND} FOR EACH ROW BEGIN {count}; END"


def _postgresql(event: str) -> str:
    name = f"{KIND}_{event.lower()}_counted"
    return f"CREATE TRIGGER {name} AFTER {event} ON {KIND} FOR EACH STATEMENT EXECUTE FUNCTION count_change('{KIND}')"
