"""What monitoring keeps: questions for the worklist, runs of the golden signal, incidents, doses."""  # noqa: INP001 (Alembic loads it by its path)

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pacs.database.types import Identifier, JsonDocument, UtcDateTime

revision = "0010_monitoring"
down_revision = "0009_routing_rules"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of `pacs.monitoring`, and let studies be found by when they came."""
    op.create_table(
        "monitoring_questions",
        sa.Column("ae_title", sa.String(64), nullable=False),
        sa.Column("asked_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("ae_title", name="pk_monitoring_questions"),
    )
    op.create_table(
        "monitoring_golden_runs",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("began_at", UtcDateTime, nullable=False),
        sa.Column("failed_step", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("interval_seconds", sa.Double, nullable=False),
        sa.Column("steps", JsonDocument, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_monitoring_golden_runs"),
    )
    op.create_index("ix_monitoring_golden_runs_began_at", "monitoring_golden_runs", ["began_at"])
    _create_incidents_and_doses()
    op.create_index("ix_studies_received_at", "studies", ["received_at"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_studies_received_at", "studies")
    for name in ("doses", "incidents", "golden_runs", "questions"):
        op.drop_table(f"monitoring_{name}")


def _create_incidents_and_doses() -> None:
    op.create_table(
        "monitoring_incidents",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("sentences", JsonDocument, nullable=False),
        sa.Column("began_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_monitoring_incidents"),
    )
    op.create_index("ix_monitoring_incidents_began_at", "monitoring_incidents", ["began_at"])
    op.create_table(
        "monitoring_doses",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("orthanc_study_id", sa.String(44), nullable=False),
        sa.Column("modality", sa.String(16), nullable=False),
        sa.Column("station", sa.Text, nullable=False),
        sa.Column("protocol", sa.Text, nullable=False),
        sa.Column("received_at", UtcDateTime, nullable=False),
        *(
            sa.Column(name, sa.Double)
            for name in ("ctdi_vol_mgy", "dlp_mgy_cm", "dose_area_gy_m2", "glandular_dose_mgy")
        ),
        sa.PrimaryKeyConstraint("id", name="pk_monitoring_doses"),
    )
    op.create_index("ix_monitoring_doses_received_at", "monitoring_doses", ["received_at"])
    op.create_index("ix_monitoring_doses_study", "monitoring_doses", ["orthanc_study_id"])
