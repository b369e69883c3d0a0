"""What people decided on dead letters: done and written down in one transaction, so that nothing is without a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from pacs.database import Database
from pacs.database.base import Base
from pacs.database.types import Identifier, JsonDocument, UtcDateTime
from pacs.hl7.inbox import Inbox
from pacs.hl7.journal import Journal
from pacs.hl7.outbound.outbox import Outbox
from pacs.hl7.states import Direction
from pacs.work.queue import Clock, utc_now


class Choice(StrEnum):
    """What can be decided."""

    REPLAYED = "replayed"
    SKIPPED = "skipped"
    CORRECTED = "corrected"


class Hl7Decision(Base):
    """One decision.

    Attributes
    ----------
    message_id : the dead letter; of a correction the message as it was before.
    actor : "person:NAME".
    detail : {"corrected_into": id of the new message, "changes": [[place, before, after], ...]}, or {"reason": text}.
    """

    __tablename__ = "hl7_decisions"

    id: Mapped[int] = mapped_column(Identifier, primary_key=True, autoincrement=True)
    message_id: Mapped[int] = mapped_column(Identifier, ForeignKey("hl7_messages.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(255))
    choice: Mapped[str] = mapped_column(String(16))
    detail: Mapped[Any] = mapped_column(JsonDocument, nullable=False)

    __table_args__ = (
        CheckConstraint(f"choice IN ({', '.join(repr(str(choice)) for choice in Choice)})", name="choice"),
    )


@dataclass(frozen=True)
class Decision:
    """A decision as the journal's page shows it. Attributes as in `Hl7Decision`."""

    at: datetime
    actor: str
    choice: Choice
    detail: Mapping[str, Any]


class Decisions:
    """Dead letters of both directions, decided on by people. Safe to use from any thread."""

    def __init__(
        self, database: Database, journal: Journal, inbox: Inbox, outbox: Outbox, *, clock: Clock = utc_now
    ) -> None:
        self._database = database
        self._journal = journal
        self._inbox = inbox
        self._outbox = outbox
        self._clock = clock

    def skip(self, message_id: int, *, actor: str, reason: str = "") -> None:
        """Set a dead letter aside.

        Raises
        ------
        NotFound, StateConflict : no such message; or it is no dead letter (any more).
        """
        with self._database.session(write=True) as session:
            self._desk(session, message_id).skip(message_id, session=session)
            self._note(session, message_id, actor, Choice.SKIPPED, {"reason": reason} if reason else {})

    def replay(self, message_id: int, *, actor: str) -> None:
        """Try a dead letter again as it is. Raises as `skip`."""
        with self._database.session(write=True) as session:
            self._desk(session, message_id).replay(message_id, session=session)
            self._note(session, message_id, actor, Choice.REPLAYED, {})

    def correct(self, message_id: int, raw: bytes, *, actor: str, changes: list[tuple[str, str, str]]) -> int:
        """Try an incoming dead letter again with another content; return the corrected message's id. Raises as `skip`.

        Parameters
        ----------
        changes : place, value before, value after, for people; both messages stay in the journal whole.
        """
        with self._database.session(write=True) as session:
            corrected = self._inbox.correct(message_id, raw, session=session)
            detail = {"corrected_into": corrected, "changes": [list(change) for change in changes]}
            self._note(session, message_id, actor, Choice.CORRECTED, detail)
        return corrected

    def about(self, message_id: int) -> list[Decision]:
        """Return what was decided on a message, oldest first."""
        statement = select(Hl7Decision).where(Hl7Decision.message_id == message_id).order_by(Hl7Decision.id)
        with self._database.session() as session:
            return [Decision(row.at, row.actor, Choice(row.choice), row.detail) for row in session.scalars(statement)]

    def _desk(self, session: Session, message_id: int) -> Inbox | Outbox:
        is_outgoing = self._journal.get(message_id, session=session).direction is Direction.OUT
        return self._outbox if is_outgoing else self._inbox

    def _note(self, session: Session, message_id: int, actor: str, choice: Choice, detail: Mapping[str, Any]) -> None:
        session.add(
            Hl7Decision(message_id=message_id, at=self._clock(), actor=actor, choice=choice.value, detail=dict(detail))
        )
