"""What people decided on dead letters, and the sheets of go-live rehearsals."""  # noqa: INP001 (Alembic loads it by its path)

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pacs.database.types import Identifier, JsonDocument, UtcDateTime

revision = "0006_hl7_decisions"
down_revision = "0005_performed_steps"
branch_labels = None
depends_on = None

CHOICES = "'replayed', 'skipped', 'corrected'"


def upgrade() -> None:
    """Create the tables of `pacs.hl7.decisions` and `pacs.hl7.rehearse`."""
    op.create_table(
        "hl7_decisions",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("message_id", Identifier, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("choice", sa.String(16), nullable=False),
        sa.Column("detail", JsonDocument, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hl7_decisions"),
        sa.ForeignKeyConstraint(
            ["message_id"], ["hl7_messages.id"], name="fk_hl7_decisions_message_id_hl7_messages", ondelete="CASCADE"
        ),
        sa.CheckConstraint(f"choice IN ({CHOICES})", name=op.f("ck_hl7_decisions_choice")),
    )
    op.create_index("ix_hl7_decisions_message_id", "hl7_decisions", ["message_id"])
    op.create_table(
        "hl7_rehearsals",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime),
        sa.Column("sheet", JsonDocument, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hl7_rehearsals"),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("hl7_rehearsals")
    op.drop_table("hl7_decisions")
