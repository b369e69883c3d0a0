"""The delivery ledger of routing."""  # noqa: INP001 (Alembic loads it by its path)

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pacs.database.types import Identifier, JsonDocument, UtcDateTime

revision = "0008_deliveries"
down_revision = "0007_worklist_senders"
branch_labels = None
depends_on = None

STATES = "'waiting', 'sending', 'checking', 'proven', 'sent', 'failed', 'skipped', 'diverted', 'cut'"
INSTANCE_STATES = "'sent', 'confirmed', 'refused'"


def upgrade() -> None:
    """Create the tables of `pacs.routing.delivery`."""
    _create_deliveries()
    _create_instances()
    op.create_table(
        "delivery_targets",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("away_since", UtcDateTime),
        sa.Column("succeeded_at", UtcDateTime),
        sa.Column("error", sa.Text),
        sa.Column("remedy", sa.Text),
        sa.PrimaryKeyConstraint("name", name="pk_delivery_targets"),
    )


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("orthanc_study_id", sa.String(44), nullable=False),
        sa.Column("study_instance_uid", sa.Text, nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("urgency", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("series", JsonDocument),
        sa.Column("transfer", JsonDocument, nullable=False),
        sa.Column("deidentify", sa.Text),
        sa.Column("changes", JsonDocument, nullable=False),
        sa.Column("alternatives", JsonDocument, nullable=False),
        sa.Column("has_alternatives", sa.Boolean, nullable=False),
        sa.Column("diverted_to", sa.String(64)),
        sa.Column("work_item_id", sa.BigInteger),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("instances", "sent", "refused", "confirmed")),
        sa.Column("sent_bytes", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("ordered_at", UtcDateTime, nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
        sa.Column("sent_at", UtcDateTime),
        sa.Column("proven_at", UtcDateTime),
        sa.Column("error", sa.Text),
        sa.Column("remedy", sa.Text),
        sa.Column("report", JsonDocument),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.UniqueConstraint("orthanc_study_id", "target", name="uq_deliveries_orthanc_study_id_target"),
        sa.CheckConstraint(f"state IN ({STATES})", name=op.f("ck_deliveries_state")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deliveries_target", "deliveries", ["target", "state", "ordered_at"])
    op.create_index("ix_deliveries_changed_at", "deliveries", ["changed_at"])


def _create_instances() -> None:
    op.create_table(
        "delivered_instances",
        sa.Column("delivery_id", Identifier, autoincrement=False, nullable=False),
        sa.Column("sop_instance_uid", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("sop_class_uid", sa.String(64), nullable=False),
        sa.Column("sent_study_uid", sa.String(64), nullable=False),
        sa.Column("sent_series_uid", sa.String(64), nullable=False),
        sa.Column("sent_sop_uid", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", "sop_instance_uid", name="pk_delivered_instances"),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["deliveries.id"],
            name="fk_delivered_instances_delivery_id_deliveries",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(f"state IN ({INSTANCE_STATES})", name=op.f("ck_delivered_instances_state")),
    )
    op.create_index("ix_delivered_instances_sent_sop_uid", "delivered_instances", ["sent_sop_uid"])


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("delivered_instances")
    op.drop_table("deliveries")
    op.drop_table("delivery_targets")
