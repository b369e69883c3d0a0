"""Who told the newest of a worklist entry: clocks of two senders are not compared."""  # noqa: INP001 (Alembic loads it by its path)

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_worklist_senders"
down_revision = "0006_hl7_decisions"
branch_labels = None
depends_on = None

COLUMNS = ("sender", "patient_sender")


def upgrade() -> None:
    """Add the columns; of entries that are there nobody knows."""
    for name in COLUMNS:
        op.add_column("worklist_steps", sa.Column(name, sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    """Drop the columns."""
    for name in COLUMNS:
        op.drop_column("worklist_steps", name)
