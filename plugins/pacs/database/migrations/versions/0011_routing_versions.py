"""Versions of de-identification that deliveries began with, copies that rules made, and a ledger of a million rows."""  # noqa: INP001 (Alembic loads it by its path)

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pacs.database.types import Identifier, JsonDocument, UtcDateTime

revision = "0011_routing_versions"
down_revision = "0010_monitoring"
branch_labels = None
depends_on = None

IS_OPEN = sa.text("state NOT IN ('proven', 'sent', 'skipped', 'diverted', 'cut')")


def upgrade() -> None:
    """Add them, and let the ledger be read by state."""
    op.create_table(
        "delivery_identities",
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("texts", JsonDocument, nullable=False),
        sa.Column("kept_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_delivery_identities"),
    )
    op.add_column("deliveries", sa.Column("identity", sa.String(64)))
    op.drop_index("ix_deliveries_target", "deliveries")
    op.create_index("ix_deliveries_target", "deliveries", ["target", "state", "id"])
    op.create_index("ix_deliveries_state", "deliveries", ["state", "id"])
    op.create_index(
        "ix_deliveries_open",
        "deliveries",
        ["target", "state", "ordered_at"],
        sqlite_where=IS_OPEN,
        postgresql_where=IS_OPEN,
    )
    _create_copies()


def downgrade() -> None:
    """Take them away."""
    op.drop_table("routing_copies")
    for name in ("open", "state", "target"):
        op.drop_index(f"ix_deliveries_{name}", "deliveries")
    op.create_index("ix_deliveries_target", "deliveries", ["target", "state", "ordered_at"])
    op.drop_column("deliveries", "identity")
    op.drop_table("delivery_identities")


def _create_copies() -> None:
    op.create_table(
        "routing_copies",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("orthanc_study_id", sa.String(44), nullable=False),
        sa.Column("study_instance_uid", sa.Text, nullable=False),
        sa.Column("copy_study_instance_uid", sa.String(64), nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("changes", JsonDocument, nullable=False),
        sa.Column("instances", sa.Integer, nullable=False),
        sa.Column("began_at", UtcDateTime, nullable=False),
        sa.Column("made_at", UtcDateTime),
        sa.Column("undone_at", UtcDateTime),
        sa.Column("undone_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_routing_copies"),
        sa.UniqueConstraint("copy_study_instance_uid", name="uq_routing_copies_copy_study_instance_uid"),
    )
    op.create_index("ix_routing_copies_orthanc_study_id", "routing_copies", ["orthanc_study_id"])
