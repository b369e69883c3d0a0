"""The table of rehearsals' sheets."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from pacs.database.base import Base
from pacs.database.types import Identifier, JsonDocument, UtcDateTime


class RehearsalRecord(Base):
    """One rehearsal.

    Attributes
    ----------
    changed_at : when it last went on; one that has not ended and has not gone on for long was interrupted.
    sheet : `Sheet.as_json`.
    """

    __tablename__ = "hl7_rehearsals"

    id: Mapped[int] = mapped_column(Identifier, primary_key=True, autoincrement=True)
    actor: Mapped[str] = mapped_column(String(255))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    sheet: Mapped[Any] = mapped_column(JsonDocument, nullable=False)
