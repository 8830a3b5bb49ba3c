"""The runtime that a rollout gives its devices, and that each deployment runs with; empty is what it was before.

Of a rollout empty means that each device keeps its own, of a deployment that of the base environment.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Apply."""
    op.add_column("rollouts", sa.Column("runtime", sa.Text(), nullable=False, server_default=""))
    op.add_column("deployments", sa.Column("runtime", sa.Text(), nullable=False, server_default=""))
