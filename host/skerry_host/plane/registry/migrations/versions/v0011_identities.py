"""Who a device is: its key and certificates, the claims that boards enrol by, and the boards that wait for approval.

A device that was provisioned before has none of it and stays as it is: it is known the old way. Changes are counted by
triggers, as those of other records are; a certificate that is renewed changes nothing that a broker has to know.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

COUNTED = {
    "identities": ("identities", ""),
    "certificates": ("identities", " OF revoked"),
    "claims": ("identities", ""),
    "pending": ("pending", ""),
}
"""Table to the kind that its changes are counted as, and to the columns whose update counts (none: all)."""

REMOVED = {"identities": "identities", "claims": "identities", "pending": "pending"}
"""Table to the kind that its deleted rows are counted as: others than boards that waited are deleted by nobody."""


def upgrade() -> None:
    """Apply."""
    op.add_column("devices", sa.Column("hardware_serial", sa.Text(), nullable=True))
    op.add_column("devices", sa.Column("claim", sa.BigInteger(), nullable=True))
    op.create_index("ix_devices_claim", "devices", ["claim"], unique=False)
    _identities()
    _certificates()
    _claims()
    _pending()
    op.bulk_insert(
        sa.table("changes", sa.column("kind", sa.String), sa.column("number", sa.BigInteger)),
        [{"kind": kind, "number": 0} for kind in ("identities", "pending")],
    )
    statements = _postgresql() if op.get_bind().dialect.name == "postgresql" else _sqlite()
    for statement in statements:
        op.execute(sa.text(statement))


def _identities() -> None:
    op.create_table(
        "identities",
        sa.Column("device", sa.String(length=41), nullable=False),
        sa.Column("key_sha256", sa.String(length=64), nullable=True),
        sa.Column("incarnation", sa.String(length=32), nullable=True),
        sa.Column("birth_key_sha256", sa.String(length=64), nullable=True),
        sa.Column("enrolled", sa.Float(precision=53), nullable=True),
        sa.Column("revoked", sa.Float(precision=53), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("retired", sa.Float(precision=53), nullable=True),
        sa.ForeignKeyConstraint(["device"], ["devices.id"]),
        sa.PrimaryKeyConstraint("device"),
    )
    op.create_index("ix_identities_key_sha256", "identities", ["key_sha256"], unique=True)


def _certificates() -> None:
    op.create_table(
        "certificates",
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("principal", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("key_sha256", sa.String(length=64), nullable=False),
        sa.Column("not_after", sa.Float(precision=53), nullable=False),
        sa.Column("revoked", sa.Float(precision=53), nullable=True),
        sa.Column("pem", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("serial"),
    )
    op.create_index("ix_certificates_principal", "certificates", ["principal"], unique=False)


def _claims() -> None:
    op.create_table(
        "claims",
        sa.Column("number", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("board", sa.Text(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("created", sa.Float(precision=53), nullable=False),
        sa.Column("expires", sa.Float(precision=53), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("closed", sa.Float(precision=53), nullable=True),
        sa.Column("device", sa.String(length=41), nullable=True),
        sa.ForeignKeyConstraint(["device"], ["devices.id"]),
        sa.PrimaryKeyConstraint("number"),
    )


def _pending() -> None:
    op.create_table(
        "pending",
        sa.Column("key_sha256", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("claim", sa.String(length=64), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("board", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("incarnation", sa.String(length=32), nullable=False),
        sa.Column("nonce", sa.String(length=32), nullable=False),
        sa.Column("csr", sa.LargeBinary(), nullable=False),
        sa.Column("birth_csr", sa.LargeBinary(), nullable=True),
        sa.Column("first", sa.Float(precision=53), nullable=False),
        sa.Column("last", sa.Float(precision=53), nullable=False),
        sa.Column("denied", sa.Float(precision=53), nullable=True),
        sa.Column("approved", sa.String(length=41), nullable=True),
        sa.Column("replace", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("key_sha256"),
    )
    op.create_index("ix_pending_claim", "pending", ["claim"], unique=False)
    op.create_index("ix_pending_code", "pending", ["code"], unique=False)


def _sqlite() -> list[str]:
    made = []
    for table, (kind, columns) in COUNTED.items():
        if not columns:
            made.append(_trigger(table, "INSERT", kind))
        made.append(_trigger(table, "UPDATE", kind, columns))
    return made + [_trigger(table, "DELETE", kind) for table, kind in REMOVED.items()]


def _trigger(table: str, event: str, kind: str, columns: str = "") -> str:
    name = f"{table}_{event.lower()}_counted"
    count = f"UPDATE changes SET number = number + 1 WHERE kind = '{kind}'"  # noqa: S608 - of the names above
    return f"CREATE TRIGGER {name} AFTER {event}{columns} ON {table} FOR EACH ROW BEGIN {count}; END"


def _postgresql() -> list[str]:
    made = []
    for table, (kind, columns) in COUNTED.items():
        events = f"UPDATE{columns}" if columns else "INSERT OR UPDATE"
        made.append(_statement_trigger(table, events, "changed", kind))
    return made + [_statement_trigger(table, "DELETE", "removed", kind) for table, kind in REMOVED.items()]


def _statement_trigger(table: str, events: str, word: str, kind: str) -> str:
    name = f"{table}_{word}_counted"
    return f"CREATE TRIGGER {name} AFTER {events} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION count_change('{kind}')"
