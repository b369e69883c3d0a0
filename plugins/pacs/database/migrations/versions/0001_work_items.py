"""The durable work queue: work_items and the raw bodies of items."""  # noqa: INP001 (Alembic loads it by its path)

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pacs.database.types import Identifier, JsonDocument, UtcDateTime

revision = "0001_work_items"
down_revision = None
branch_labels = None
depends_on = None

STATES = "'received', 'blocked', 'waiting', 'working', 'done', 'failed', 'skipped', 'cancelled'"


def upgrade() -> None:
    """Create the tables of `pacs.work`."""
    _create_items()
    _create_indexes()
    op.create_table(
        "work_item_bodies",
        sa.Column("work_item_id", Identifier, autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("work_item_id", name="pk_work_item_bodies"),
        sa.ForeignKeyConstraint(
            ["work_item_id"],
            ["work_items.id"],
            name="fk_work_item_bodies_work_item_id_work_items",
            ondelete="CASCADE",
        ),
    )
    if op.get_bind().dialect.name == "postgresql":
        _tune_postgresql()


def _tune_postgresql() -> None:
    # Rows of a queue change several times in their short life: vacuum after 1 % changed, not after 20 %.
    op.execute(
        "ALTER TABLE work_items SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02)"
    )
    # When thousands wait behind one key PostgreSQL would take it for the usual key, and look for a rare one by reading
    # the whole table in the order of the ids. Without statistics it always uses the index of keys.
    op.execute("ALTER TABLE work_items ALTER COLUMN ordering_key SET STATISTICS 0")


def _create_items() -> None:
    op.create_table(
        "work_items",
        sa.Column("id", Identifier, autoincrement=True, nullable=False),
        sa.Column("queue", sa.String(64), nullable=False),
        sa.Column("ordering_key", sa.String(255)),
        sa.Column("dedupe_key", sa.String(255)),
        sa.Column("precedence", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("holds_key", sa.Boolean, nullable=False),
        sa.Column("payload", JsonDocument, nullable=False),
        sa.Column("body_bytes", sa.BigInteger),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("claim_token", sa.BigInteger, nullable=False),
        sa.Column("next_try_at", UtcDateTime, nullable=False),
        sa.Column("claimed_by", sa.String(255)),
        sa.Column("lease_until", UtcDateTime),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Column("progress", JsonDocument),
        sa.Column("result", JsonDocument),
        sa.Column("received_at", UtcDateTime, nullable=False),
        sa.Column("queued_at", UtcDateTime, nullable=False),
        sa.Column("started_at", UtcDateTime),
        sa.Column("finished_at", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_work_items"),
        sa.UniqueConstraint("queue", "dedupe_key", name="uq_work_items_queue_dedupe_key"),
        sa.CheckConstraint(f"state IN ({STATES})", name=op.f("ck_work_items_state")),
        sqlite_autoincrement=True,
    )


def _create_indexes() -> None:
    op.create_index("ix_work_items_ready", "work_items", ["queue", "state", "precedence", "id"])
    _create_partial_index("ix_work_items_due", ["queue", "next_try_at"], "state = 'waiting'")
    _create_partial_index("ix_work_items_key", ["queue", "ordering_key", "id"], "holds_key")
    _create_partial_index("uq_work_items_working_key", ["queue", "ordering_key"], "state = 'working'", unique=True)
    _create_partial_index("ix_work_items_finished", ["queue", "finished_at"], "finished_at IS NOT NULL")


def _create_partial_index(name: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, "work_items", columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("work_item_bodies")
    op.drop_table("work_items")
