"""Performed procedure steps (MPPS)."""  # noqa: INP001 (Alembic loads it by its path)

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pacs.database.types import Identifier, UtcDateTime

revision = "0005_performed_steps"
down_revision = "0004_hl7_messages"
branch_labels = None
depends_on = None

STATUSES = "'IN PROGRESS', 'COMPLETED', 'DISCONTINUED'"
REFERENCES = "performed_step_references"


def upgrade() -> None:
    """Create the tables of `pacs.mpps`."""
    op.create_table(
        "performed_steps",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("sop_instance_uid", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("calling_ae_title", sa.String(16), nullable=False),
        sa.Column("station_ae_title", sa.String(16), nullable=False),
        sa.Column("modality", sa.String(16), nullable=False),
        sa.Column("patient_id", sa.Text, nullable=False),
        sa.Column("attributes", sa.LargeBinary, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_performed_steps"),
        sa.UniqueConstraint("sop_instance_uid", name="uq_performed_steps_sop_instance_uid"),
        sa.CheckConstraint(f"status IN ({STATUSES})", name=op.f("ck_performed_steps_status")),
    )
    _create_references()
    for column in ("performed_step_id", "worklist_step_id", "study_instance_uid"):
        op.create_index(f"ix_{REFERENCES}_{column}", REFERENCES, [column])


def _create_references() -> None:
    op.create_table(
        REFERENCES,
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("performed_step_id", Identifier, nullable=False),
        sa.Column("worklist_step_id", Identifier),
        sa.Column("study_instance_uid", sa.String(64), nullable=False),
        sa.Column("accession_number", sa.Text, nullable=False),
        sa.Column("requested_procedure_id", sa.Text, nullable=False),
        sa.Column("step_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{REFERENCES}"),
        sa.ForeignKeyConstraint(
            ["performed_step_id"],
            ["performed_steps.id"],
            name=f"fk_{REFERENCES}_performed_step_id_performed_steps",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["worklist_step_id"],
            ["worklist_steps.id"],
            name=f"fk_{REFERENCES}_worklist_step_id_worklist_steps",
            ondelete="SET NULL",
        ),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table(REFERENCES)
    op.drop_table("performed_steps")
