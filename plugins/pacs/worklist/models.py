"""Tables of the modality worklist: the scheduled procedure steps and everything that happened to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from pacs.database.base import Base
from pacs.database.types import Identifier, JsonDocument, UtcDateTime
from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import ChangeKind

IDENTITY = ("issuer_of_accession_number", "accession_number", "requested_procedure_id", "step_id")
_STATUSES = ", ".join(f"'{status}'" for status in StepStatus)
_KINDS = ", ".join(f"'{kind}'" for kind in ChangeKind)


class StepRecord(Base):
    """One scheduled procedure step with the order and the patient that it is for: one entry of the worklist.

    Attributes
    ----------
    issuer_of_accession_number, accession_number, requested_procedure_id, step_id : together they name the step; "" for
        what the order does not say.
    attributes : the whole entry as a DICOM data set, explicit VR little endian in UTF-8, without the status.
    start_key : scheduled start, YYYYMMDDHHMMSS as the modality reads it, "" without a date.
    stations_key : Scheduled Station AE Titles, folded, parted and enclosed by "|".
    folded_name : the patient's whole name, folded (`pacs.studies.names.fold`).
    words_key : words of name, patient ID and accession number, see `pacs.studies.names.search_key`.
    sent_at, sequence, sender : version of the order's attributes, see `steps.Version`; "" and 0 when a person entered
        it.
    patient_sent_at, patient_sequence, patient_sender : version of the patient's attributes (group 0010), which ADT
        messages change too.
    former_patients : [id, issuer] that were merged away; orders that still come under them are this patient's.
    """

    __tablename__ = "worklist_steps"

    id: Mapped[int] = mapped_column(Identifier, primary_key=True, autoincrement=True)
    issuer_of_accession_number: Mapped[str] = mapped_column(Text)
    accession_number: Mapped[str] = mapped_column(Text)
    requested_procedure_id: Mapped[str] = mapped_column(Text)
    step_id: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16))
    priority: Mapped[str] = mapped_column(String(16))
    attributes: Mapped[bytes] = mapped_column(LargeBinary)
    start_key: Mapped[str] = mapped_column(String(14))
    modality: Mapped[str] = mapped_column(Text)
    stations_key: Mapped[str] = mapped_column(Text)
    location: Mapped[str] = mapped_column(Text)
    study_instance_uid: Mapped[str] = mapped_column(Text)
    placer_order_number: Mapped[str] = mapped_column(Text)
    filler_order_number: Mapped[str] = mapped_column(Text)
    patient_id: Mapped[str] = mapped_column(Text)
    issuer_of_patient_id: Mapped[str] = mapped_column(Text)
    folded_name: Mapped[str] = mapped_column(Text)
    words_key: Mapped[str] = mapped_column(Text)
    former_patients: Mapped[Any] = mapped_column(JsonDocument, nullable=False)
    sent_at: Mapped[str] = mapped_column(String(32))
    sequence: Mapped[int] = mapped_column(BigInteger)
    sender: Mapped[str] = mapped_column(Text, server_default=text("''"))
    patient_sent_at: Mapped[str] = mapped_column(String(32))
    patient_sequence: Mapped[int] = mapped_column(BigInteger)
    patient_sender: Mapped[str] = mapped_column(Text, server_default=text("''"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(f"status IN ({_STATUSES})", name="status"),
        UniqueConstraint(*IDENTITY, name="uq_worklist_steps_identity"),
        # What nearly every modality asks: what is scheduled, today, for me.
        Index("ix_worklist_steps_asked", "status", "start_key", "modality", "stations_key"),
        Index("ix_worklist_steps_start_key", "start_key"),
        Index("ix_worklist_steps_patient_id", "patient_id"),
        Index("ix_worklist_steps_accession_number", "accession_number"),
        Index("ix_worklist_steps_study_instance_uid", "study_instance_uid"),
        Index("ix_worklist_steps_placer_order_number", "placer_order_number"),
        Index("ix_worklist_steps_filler_order_number", "filler_order_number"),
    )


class StepHistoryRecord(Base):
    """One change of a step.

    Attributes
    ----------
    actor : who did it: "hl7:PEER", "mpps:AET", "images", "person:NAME".
    status_before : None for a new step.
    detail : what else is known: {"changes": {keyword: [before, after]}} and what the actor adds.
    """

    __tablename__ = "worklist_history"

    id: Mapped[int] = mapped_column(Identifier, primary_key=True, autoincrement=True)
    step_row_id: Mapped[int] = mapped_column(
        Identifier, ForeignKey("worklist_steps.id", ondelete="CASCADE"), index=True
    )
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(16))
    status_before: Mapped[str | None] = mapped_column(String(16))
    status_after: Mapped[str] = mapped_column(String(16))
    detail: Mapped[Any] = mapped_column(JsonDocument, nullable=False)

    __table_args__ = (CheckConstraint(f"kind IN ({_KINDS})", name="kind"),)
