"""The modality worklist and its history."""  # noqa: INP001 (Alembic loads it by its path)

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pacs.database.types import Identifier, JsonDocument, UtcDateTime

revision = "0003_worklist"
down_revision = "0002_studies"
branch_labels = None
depends_on = None

IDENTITY = ("issuer_of_accession_number", "accession_number", "requested_procedure_id", "step_id")
STATUSES = "'SCHEDULED', 'ARRIVED', 'READY', 'STARTED', 'COMPLETED', 'DISCONTINUED', 'CANCELED'"
KINDS = "'new', 'updated', 'status'"
INDEXED = (
    "start_key",
    "patient_id",
    "accession_number",
    "study_instance_uid",
    "placer_order_number",
    "filler_order_number",
)


def upgrade() -> None:
    """Create the tables of `pacs.worklist`."""
    _create_steps()
    op.create_index("ix_worklist_steps_asked", "worklist_steps", ["status", "start_key", "modality", "stations_key"])
    for name in INDEXED:
        op.create_index(f"ix_worklist_steps_{name}", "worklist_steps", [name])
    _create_history()
    op.create_index("ix_worklist_history_step_row_id", "worklist_history", ["step_row_id"])


def _create_steps() -> None:
    op.create_table(
        "worklist_steps",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in IDENTITY),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("priority", sa.String(16), nullable=False),
        sa.Column("attributes", sa.LargeBinary, nullable=False),
        sa.Column("start_key", sa.String(14), nullable=False),
        sa.Column("modality", sa.Text, nullable=False),
        sa.Column("stations_key", sa.Text, nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("study_instance_uid", sa.Text, nullable=False),
        sa.Column("placer_order_number", sa.Text, nullable=False),
        sa.Column("filler_order_number", sa.Text, nullable=False),
        sa.Column("patient_id", sa.Text, nullable=False),
        sa.Column("issuer_of_patient_id", sa.Text, nullable=False),
        sa.Column("folded_name", sa.Text, nullable=False),
        sa.Column("words_key", sa.Text, nullable=False),
        sa.Column("former_patients", JsonDocument, nullable=False),
        sa.Column("sent_at", sa.String(32), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("patient_sent_at", sa.String(32), nullable=False),
        sa.Column("patient_sequence", sa.BigInteger, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_worklist_steps"),
        sa.UniqueConstraint(*IDENTITY, name="uq_worklist_steps_identity"),
        sa.CheckConstraint(f"status IN ({STATUSES})", name=op.f("ck_worklist_steps_status")),
    )


def _create_history() -> None:
    op.create_table(
        "worklist_history",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("step_row_id", Identifier, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("status_before", sa.String(16)),
        sa.Column("status_after", sa.String(16), nullable=False),
        sa.Column("detail", JsonDocument, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_worklist_history"),
        sa.ForeignKeyConstraint(
            ["step_row_id"],
            ["worklist_steps.id"],
            name="fk_worklist_history_step_row_id_worklist_steps",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(f"kind IN ({KINDS})", name=op.f("ck_worklist_history_kind")),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("worklist_history")
    op.drop_table("worklist_steps")
