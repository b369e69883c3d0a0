"""Tables of the work queue: `work_items` and, apart from them, the raw bytes of items that have some."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from pacs.database.base import Base
from pacs.database.types import Identifier, JsonDocument, UtcDateTime
from pacs.work.states import WorkState

QUEUE_LENGTH = 64
KEY_LENGTH = 255
_STATES = ", ".join(f"'{state}'" for state in WorkState)


def _partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    condition = text(where)
    return Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


class WorkItemRecord(Base):
    """One item of one queue.

    Attributes
    ----------
    precedence : lowest first; the priority with its sign turned, so that one plain index serves "first by priority,
        then by id" on both databases.
    ordering_key : items of one queue and key are worked strictly one after the other.
    holds_key : later items of the key must wait for this one (it is not finished).
    claim_token : fencing token of the newest claim, a random number; 0 before the first.
    attempts : tries since it was put or replayed.
    queued_at : when it was put or last replayed, or its "not before" if that is later; its age counts from here.
    body_bytes : size of the row in `work_item_bodies` (bytes), None without one.
    """

    __tablename__ = "work_items"

    id: Mapped[int] = mapped_column(Identifier, primary_key=True, autoincrement=True)
    queue: Mapped[str] = mapped_column(String(QUEUE_LENGTH))
    ordering_key: Mapped[str | None] = mapped_column(String(KEY_LENGTH))
    dedupe_key: Mapped[str | None] = mapped_column(String(KEY_LENGTH))
    precedence: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    holds_key: Mapped[bool]
    payload: Mapped[Any] = mapped_column(JsonDocument, nullable=False)
    body_bytes: Mapped[int | None] = mapped_column(BigInteger)
    attempts: Mapped[int]
    claim_token: Mapped[int] = mapped_column(BigInteger)
    next_try_at: Mapped[datetime] = mapped_column(UtcDateTime)
    claimed_by: Mapped[str | None] = mapped_column(String(255))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cancel_requested: Mapped[bool]
    last_error: Mapped[str | None] = mapped_column(Text)
    progress: Mapped[Any | None] = mapped_column(JsonDocument)
    result: Mapped[Any | None] = mapped_column(JsonDocument)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    queued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(f"state IN ({_STATES})", name="state"),
        UniqueConstraint("queue", "dedupe_key"),
        # Claims, lists and counts by state.
        Index("ix_work_items_ready", "queue", "state", "precedence", "id"),
        _partial_index("ix_work_items_due", "queue", "next_try_at", where="state = 'waiting'"),
        # Who is before me in my key?
        _partial_index("ix_work_items_key", "queue", "ordering_key", "id", where="holds_key"),
        # The database itself refuses to let two items of a key be worked at once.
        _partial_index("uq_work_items_working_key", "queue", "ordering_key", where="state = 'working'", unique=True),
        _partial_index("ix_work_items_finished", "queue", "finished_at", where="finished_at IS NOT NULL"),
        # Identifiers tell the order: one that was purged must never be given again.
        {"sqlite_autoincrement": True},
    )


class WorkItemBody(Base):
    """The raw bytes of an item, as they came in. Apart, so that a change of state never rewrites them."""

    __tablename__ = "work_item_bodies"

    work_item_id: Mapped[int] = mapped_column(
        Identifier, ForeignKey("work_items.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    body: Mapped[bytes] = mapped_column(LargeBinary)
