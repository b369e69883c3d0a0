"""The HL7 bridge: frames, the journal, whose turn it is."""  # noqa: INP001 (Alembic loads it by its path)

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pacs.database.types import Identifier, JsonDocument, UtcDateTime

revision = "0004_hl7_messages"
down_revision = "0003_worklist"
branch_labels = None
depends_on = None

TEXTS_OF_MESSAGE = (
    "control_id",
    "message_type",
    "trigger_event",
    "version",
    "charset",
    "patient_ids",
    "patient_name",
    "accession_numbers",
)
STATES = "'waiting', 'done', 'refused', 'failed', 'skipped', 'replaced'"


def upgrade() -> None:
    """Create the tables of `pacs.hl7`."""
    op.create_table(
        "hl7_frames",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("received_at", UtcDateTime, nullable=False),
        sa.Column("peer", sa.String(32), nullable=False),
        sa.Column("remote_address", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(2), nullable=False),
        sa.Column("digest", sa.LargeBinary(32)),
        sa.Column("error", sa.Text),
        sa.Column("error_location", sa.String(64)),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sa.Column("ack", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name="pk_hl7_frames"),
        sa.UniqueConstraint("digest", name="uq_hl7_frames_digest"),
        sqlite_autoincrement=True,
    )
    _create_messages()
    op.create_table(
        "hl7_turns",
        sa.Column("patient_key", sa.String(80), nullable=False),
        sa.Column("message_id", Identifier, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("patient_key", "message_id", name="pk_hl7_turns"),
        sa.ForeignKeyConstraint(
            ["message_id"], ["hl7_messages.id"], name="fk_hl7_turns_message_id_hl7_messages", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_hl7_turns_message_id", "hl7_turns", ["message_id"])


def _create_messages() -> None:
    op.create_table(
        "hl7_messages",
        sa.Column("id", Identifier, autoincrement=False, nullable=False),
        sa.Column("direction", sa.String(3), nullable=False),
        sa.Column("peer", sa.String(32), nullable=False),
        sa.Column("received_at", UtcDateTime, nullable=False),
        sa.Column("work_item_id", Identifier),
        *(sa.Column(name, sa.Text, nullable=False) for name in TEXTS_OF_MESSAGE),
        sa.Column("outcome", sa.String(2), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("result", JsonDocument),
        sa.Column("error", sa.Text),
        sa.Column("error_location", sa.String(64)),
        sa.Column("ack", sa.LargeBinary),
        sa.Column("repeats", sa.Integer, nullable=False),
        sa.Column("corrected_from", Identifier),
        sa.PrimaryKeyConstraint("id", name="pk_hl7_messages"),
        sa.ForeignKeyConstraint(["id"], ["hl7_frames.id"], name="fk_hl7_messages_id_hl7_frames", ondelete="CASCADE"),
        sa.CheckConstraint("direction IN ('in', 'out')", name=op.f("ck_hl7_messages_direction")),
        sa.CheckConstraint(f"state IN ({STATES})", name=op.f("ck_hl7_messages_state")),
    )
    for column in ("received_at", "control_id", "patient_ids", "accession_numbers"):
        op.create_index(f"ix_hl7_messages_{column}", "hl7_messages", [column])
    op.create_index("ix_hl7_messages_state", "hl7_messages", ["state", "id"])
    unqueued = sa.text("direction = 'in' AND state = 'waiting' AND work_item_id IS NULL")
    op.create_index(
        "ix_hl7_messages_unqueued", "hl7_messages", ["id"], sqlite_where=unqueued, postgresql_where=unqueued
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("hl7_turns")
    op.drop_table("hl7_messages")
    op.drop_table("hl7_frames")
