"""Who was left out of a rollout as it was started, and why: known only then."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Apply."""
    op.add_column("rollouts", sa.Column("admission", sa.LargeBinary(), nullable=True))
