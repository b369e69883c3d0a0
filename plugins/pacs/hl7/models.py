"""Tables of the HL7 bridge: the bytes as they came, what the journal knows of them, and whose turn it is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from pacs.database.base import Base
from pacs.database.types import Identifier, JsonDocument, UtcDateTime
from pacs.hl7.states import Direction, MessageState

PATIENT_KEY_LENGTH = 80
ERROR_LOCATION_LENGTH = 64
_UNQUEUED = text("direction = 'in' AND state = 'waiting' AND work_item_id IS NULL")


def _one_of(column: str, values: type[Direction | MessageState]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(str(value)) for value in values)})", name=column)


class Hl7Frame(Base):
    """The bytes of one message and of our answer, written once and never changed: all that an ACK waits for.

    Attributes
    ----------
    peer : name of the configured peer, "" for another.
    remote_address : the address that it came from, or that it goes to.
    outcome : AA, AE or AR as answered; "" for an outgoing message.
    digest : of peer, sending application and facility, control id and content (SHA-256, after MSH-7 and the end of
        MSH-10 as numbers), by which a repeated message is known; None where it was not accepted.
    error : why it was not accepted.
    error_location : as ERL writes it, PID^1^3.
    """

    __tablename__ = "hl7_frames"

    id: Mapped[int] = mapped_column(Identifier, primary_key=True, autoincrement=True)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    peer: Mapped[str] = mapped_column(String(32))
    remote_address: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[str] = mapped_column(String(2))
    digest: Mapped[bytes | None] = mapped_column(LargeBinary(32), unique=True)
    error: Mapped[str | None] = mapped_column(Text)
    error_location: Mapped[str | None] = mapped_column(String(ERROR_LOCATION_LENGTH))
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    ack: Mapped[bytes | None] = mapped_column(LargeBinary)

    # Identifiers tell the order: one that was purged must never be given again.
    __table_args__ = ({"sqlite_autoincrement": True},)


class Hl7Message(Base):
    """What the journal knows of a frame; has the frame's id.

    Attributes
    ----------
    work_item_id : its item of the queue "hl7-inbox" (or of its destination), None before it has one.
    patient_ids, accession_numbers : several with one space between them.
    result : what it became, a JSON object; of a dead letter the "locations" of all that is wrong.
    ack : of an outgoing message, what the receiver answered; our own answers are with their frames.
    repeats : how often the same message came again and was answered without being done again.
    corrected_from : the message that a person corrected into this one.
    """

    __tablename__ = "hl7_messages"

    id: Mapped[int] = mapped_column(
        Identifier, ForeignKey("hl7_frames.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    direction: Mapped[str] = mapped_column(String(3))
    peer: Mapped[str] = mapped_column(String(32))
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    work_item_id: Mapped[int | None] = mapped_column(Identifier)
    control_id: Mapped[str] = mapped_column(Text)
    message_type: Mapped[str] = mapped_column(Text)
    trigger_event: Mapped[str] = mapped_column(Text)
    version: Mapped[str] = mapped_column(Text)
    charset: Mapped[str] = mapped_column(Text)
    patient_ids: Mapped[str] = mapped_column(Text)
    patient_name: Mapped[str] = mapped_column(Text)
    accession_numbers: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(String(2))
    state: Mapped[str] = mapped_column(String(16))
    result: Mapped[Any | None] = mapped_column(JsonDocument)
    error: Mapped[str | None] = mapped_column(Text)
    error_location: Mapped[str | None] = mapped_column(String(ERROR_LOCATION_LENGTH))
    ack: Mapped[bytes | None] = mapped_column(LargeBinary)
    repeats: Mapped[int]
    corrected_from: Mapped[int | None] = mapped_column(Identifier)

    __table_args__ = (
        _one_of("direction", Direction),
        _one_of("state", MessageState),
        Index("ix_hl7_messages_received_at", "received_at"),
        Index("ix_hl7_messages_control_id", "control_id"),
        Index("ix_hl7_messages_patient_ids", "patient_ids"),
        Index("ix_hl7_messages_accession_numbers", "accession_numbers"),
        Index("ix_hl7_messages_state", "state", "id"),
        # Those that still wait for an item of the queue: few, and asked for all the time.
        Index("ix_hl7_messages_unqueued", "id", sqlite_where=_UNQUEUED, postgresql_where=_UNQUEUED),
    )


class Hl7Turn(Base):
    """A patient whom an unsettled incoming message is about: later messages about the same wait their turn."""

    __tablename__ = "hl7_turns"

    patient_key: Mapped[str] = mapped_column(String(PATIENT_KEY_LENGTH), primary_key=True)
    message_id: Mapped[int] = mapped_column(
        Identifier, ForeignKey("hl7_messages.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )

    __table_args__ = (Index("ix_hl7_turns_message_id", "message_id"),)
