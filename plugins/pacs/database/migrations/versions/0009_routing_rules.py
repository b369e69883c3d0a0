"""What routing rules decided, and what was seen of labels and times of day."""  # noqa: INP001 (Alembic loads it by its path)

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pacs.database.types import Identifier, JsonDocument, UtcDateTime

revision = "0009_routing_rules"
down_revision = "0008_deliveries"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of `pacs.routing.decisions`."""
    op.create_table(
        "routing_decisions",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("orthanc_study_id", sa.String(44), nullable=False),
        sa.Column("study_instance_uid", sa.Text, nullable=False),
        sa.Column("orthanc_series_id", sa.String(44)),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("rules", JsonDocument, nullable=False),
        sa.Column("stopped_by", sa.Text, nullable=False),
        sa.Column("targets", JsonDocument, nullable=False),
        sa.Column("tasks", JsonDocument, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_routing_decisions"),
    )
    op.create_index("ix_routing_decisions_orthanc_study_id", "routing_decisions", ["orthanc_study_id", "id"])
    op.create_index("ix_routing_decisions_at", "routing_decisions", ["at"])
    op.create_table(
        "routing_marks",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_routing_marks"),
    )
    op.create_table(
        "routing_labels",
        sa.Column("label", sa.String(128), nullable=False),
        sa.Column("orthanc_study_id", sa.String(44), nullable=False),
        sa.PrimaryKeyConstraint("label", "orthanc_study_id", name="pk_routing_labels"),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("routing_labels")
    op.drop_table("routing_marks")
    op.drop_table("routing_decisions")
