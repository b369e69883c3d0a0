"""Tables of decisions, and of what was seen of labels and times of day."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from pacs.database.base import Base
from pacs.database.types import Identifier, JsonDocument, UtcDateTime

ORTHANC_ID_LENGTH = 44


class DecisionRecord(Base):
    """One asking of the rules about a study or series. It holds identifiers, no names of patients.

    Attributes
    ----------
    event : `rules.triggers.Event`; `detail` is the schedule's words, or the label.
    version : of the rules; 0 before the first.
    actor : who had it done by hand, "" else.
    rules : names of the rules that were met.
    targets, tasks : where it goes, and what else is done.
    """

    __tablename__ = "routing_decisions"

    id: Mapped[int] = mapped_column(Identifier, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    orthanc_study_id: Mapped[str] = mapped_column(String(ORTHANC_ID_LENGTH))
    study_instance_uid: Mapped[str] = mapped_column(Text)
    orthanc_series_id: Mapped[str | None] = mapped_column(String(ORTHANC_ID_LENGTH))
    event: Mapped[str] = mapped_column(String(32))
    detail: Mapped[str] = mapped_column(Text)
    version: Mapped[int]
    actor: Mapped[str] = mapped_column(String(255))
    rules: Mapped[Any] = mapped_column(JsonDocument, nullable=False)
    stopped_by: Mapped[str] = mapped_column(Text)
    targets: Mapped[Any] = mapped_column(JsonDocument, nullable=False)
    tasks: Mapped[Any] = mapped_column(JsonDocument, nullable=False)

    __table_args__ = (
        Index("ix_routing_decisions_orthanc_study_id", "orthanc_study_id", "id"),
        Index("ix_routing_decisions_at", "at"),
    )


class CopyRecord(Base):
    """A copy of a study with other attributes, which a rule had made here: who, when, why, and how it was undone.

    Attributes
    ----------
    orthanc_study_id, study_instance_uid : the study as it came, which is never changed.
    copy_study_instance_uid : the copy's; it follows from the study's and from the changes.
    actor : who had it done by hand, "" for the rule by itself.
    changes : DICOM keywords and the values that they have in the copy.
    instances : how many the copy has.
    began_at, made_at : when its making was first tried, and when it was last whole; None before.
    undone_at, undone_by : when and by whom the copy was removed; None and "" while it stands.
    """

    __tablename__ = "routing_copies"

    id: Mapped[int] = mapped_column(Identifier, primary_key=True, autoincrement=True)
    orthanc_study_id: Mapped[str] = mapped_column(String(ORTHANC_ID_LENGTH), index=True)
    study_instance_uid: Mapped[str] = mapped_column(Text)
    copy_study_instance_uid: Mapped[str] = mapped_column(String(64), unique=True)
    rule: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(255))
    changes: Mapped[Any] = mapped_column(JsonDocument)
    instances: Mapped[int]
    began_at: Mapped[datetime] = mapped_column(UtcDateTime)
    made_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    undone_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    undone_by: Mapped[str] = mapped_column(String(255))


class MarkRecord(Base):
    """Since when something is watched, or when it was last done.

    Attributes
    ----------
    kind : "schedule" (when it last fired), "schedule before" (when it had fired before a standstill or a leap of the
        clock), "appointment" (when it was last looked) or "label" (since when it is watched).
    """

    __tablename__ = "routing_marks"

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class LabelRecord(Base):
    """A label that a study was seen with."""

    __tablename__ = "routing_labels"

    label: Mapped[str] = mapped_column(String(128), primary_key=True)
    orthanc_study_id: Mapped[str] = mapped_column(String(ORTHANC_ID_LENGTH), primary_key=True)
