"""Numbers the changes of what the serving plane works on, so that it reads what changed and not everything.

Triggers do it, so that no writer can forget to: each kind has a counter in `changes`, and a twin or deployment keeps
the number of its own last change. Telemetry and `last_seen` are no changes: nothing is decided by them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

NUMBERED = {
    "twins": ("device", "generation, settled, desired, envelope, reported"),
    "deployments": ("id", "rollout, release, target, wave, outcome, sent, heard"),
}
"""Table to its key and to the columns whose change counts."""

COUNTED = ("devices", "rollouts", "orders")
"""Tables of which only the whole has a number."""

REMOVED = "removed"
"""Counts the rows that were deleted from any of them: none is, except by a person who repairs something."""


def upgrade() -> None:
    """Apply."""
    changes = op.create_table(
        "changes",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind"),
    )
    op.bulk_insert(changes, [{"kind": kind, "number": 0} for kind in (*NUMBERED, *COUNTED, REMOVED)])
    for table in NUMBERED:
        op.add_column(table, sa.Column("changed", sa.BigInteger(), nullable=False, server_default="0"))
        op.create_index(f"ix_{table}_changed", table, ["changed"], unique=False)
    statements = _postgresql() if op.get_bind().dialect.name == "postgresql" else _sqlite()
    for statement in statements:
        op.execute(sa.text(statement))


def _sqlite() -> list[str]:
    made = []
    for table, (key, columns) in NUMBERED.items():
        body = f"{_count(table)}; {_number(table, key)}"
        made += [_trigger(table, "INSERT", body), _trigger(table, "UPDATE", body, f" OF {columns}")]
    for table in COUNTED:
        made += [_trigger(table, event, _count(table)) for event in ("INSERT", "UPDATE")]
    return made + [_trigger(table, "DELETE", _count(REMOVED)) for table in (*NUMBERED, *COUNTED)]


def _trigger(table: str, event: str, body: str, columns: str = "") -> str:
    name = f"{table}_{event.lower()}_counted"
    return f"CREATE TRIGGER {name} AFTER {event}{columns} ON {table} FOR EACH ROW BEGIN {body}; END"


def _count(kind: str) -> str:
    return f"UPDATE changes SET number = number + 1 WHERE kind = '{kind}'"  # noqa: S608 - of the names above


def _number(table: str, key: str) -> str:
    newest = f"SELECT number FROM changes WHERE kind = '{table}'"  # noqa: S608
    return f"UPDATE {table} SET changed = ({newest}) WHERE {key} = NEW.{key}"  # noqa: S608


def _postgresql() -> list[str]:
    numbered = f"{_count('%')} RETURNING number INTO NEW.changed; RETURN NEW;".replace("'%'", "TG_TABLE_NAME")
    counted = f"{_count('%')}; RETURN NULL;".replace("'%'", "TG_ARGV[0]")
    made = [_function("count_row_change", numbered), _function("count_change", counted)]
    for table, (_, columns) in NUMBERED.items():
        made.append(
            f"CREATE TRIGGER {table}_numbered BEFORE INSERT OR UPDATE OF {columns} ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION count_row_change()"
        )
    made += [_statement_trigger(table, "INSERT OR UPDATE", table) for table in COUNTED]
    return made + [_statement_trigger(table, "DELETE", REMOVED) for table in (*NUMBERED, *COUNTED)]


def _function(name: str, body: str) -> str:
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"


def _statement_trigger(table: str, event: str, kind: str) -> str:
    name = f"{table}_{kind}_counted"
    return f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION count_change('{kind}')"
