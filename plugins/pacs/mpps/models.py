"""Tables of performed procedure steps: what modalities reported, and which steps of the worklist it is about."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from pacs.database.base import Base
from pacs.database.types import Identifier, UtcDateTime
from pacs.mpps.states import PerformedStatus

UID_LENGTH = 64
_STATUSES = ", ".join(f"'{status}'" for status in PerformedStatus)


class PerformedStepRecord(Base):
    """One performed procedure step, as its modality reported it.

    Attributes
    ----------
    station_ae_title : that performed it (0040,0241); `calling_ae_title` is who reported it.
    attributes : everything reported so far as a DICOM data set, explicit VR little endian in UTF-8.
    """

    __tablename__ = "performed_steps"

    id: Mapped[int] = mapped_column(Identifier, primary_key=True, autoincrement=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(UID_LENGTH), unique=True)
    status: Mapped[str] = mapped_column(String(16))
    calling_ae_title: Mapped[str] = mapped_column(String(16))
    station_ae_title: Mapped[str] = mapped_column(String(16))
    modality: Mapped[str] = mapped_column(String(16))
    patient_id: Mapped[str] = mapped_column(Text)
    attributes: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (CheckConstraint(f"status IN ({_STATUSES})", name="status"),)


class PerformedReferenceRecord(Base):
    """A scheduled step that a performed step says it is about (an item of the Scheduled Step Attributes Sequence).

    Attributes
    ----------
    worklist_step_id : the row of the worklist that it names, None while there is none.
    """

    __tablename__ = "performed_step_references"

    id: Mapped[int] = mapped_column(Identifier, primary_key=True, autoincrement=True)
    performed_step_id: Mapped[int] = mapped_column(
        Identifier, ForeignKey("performed_steps.id", ondelete="CASCADE"), index=True
    )
    worklist_step_id: Mapped[int | None] = mapped_column(
        Identifier, ForeignKey("worklist_steps.id", ondelete="SET NULL")
    )
    study_instance_uid: Mapped[str] = mapped_column(String(UID_LENGTH))
    accession_number: Mapped[str] = mapped_column(Text)
    requested_procedure_id: Mapped[str] = mapped_column(Text)
    step_id: Mapped[str] = mapped_column(Text)

    __table_args__ = (
        Index("ix_performed_step_references_worklist_step_id", "worklist_step_id"),
        Index("ix_performed_step_references_study_instance_uid", "study_instance_uid"),
    )
