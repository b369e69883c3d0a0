"""Tables of monitoring. Nothing in them is a patient's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from pacs.database.base import Base
from pacs.database.types import Identifier, JsonDocument, UtcDateTime
from pacs.studies.models import ORTHANC_ID_LENGTH

AE_TITLE_LENGTH = 64


class QuestionRecord(Base):
    """When a station last asked for its worklist."""

    __tablename__ = "monitoring_questions"

    ae_title: Mapped[str] = mapped_column(String(AE_TITLE_LENGTH), primary_key=True)
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)


class GoldenRunRecord(Base):
    """One run of the golden signal.

    Attributes
    ----------
    failed_step : the first that failed, "" where all passed.
    steps : [[step, outcome, seconds], ...] as far as it came.
    interval_seconds : after which the next run was due.
    """

    __tablename__ = "monitoring_golden_runs"

    id: Mapped[int] = mapped_column(Identifier, primary_key=True, autoincrement=True)
    began_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    failed_step: Mapped[str] = mapped_column(String(32))
    detail: Mapped[str] = mapped_column(Text)
    interval_seconds: Mapped[float]
    steps: Mapped[Any] = mapped_column(JsonDocument, nullable=False)


class IncidentRecord(Base):
    """Something was wrong for a while: an alert that fired, or the golden signal that failed.

    Attributes
    ----------
    source : "golden" or "alert".
    name : the failed step, or the alert's name.
    subject : what it is about, such as the station; "" where the name tells it.
    severity : "critical", "warning", "info".
    sentences : by language code, as far as the alert has them.
    ended_at : None while it lasts.
    """

    __tablename__ = "monitoring_incidents"

    id: Mapped[int] = mapped_column(Identifier, primary_key=True, autoincrement=True)
    source: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(128))
    subject: Mapped[str] = mapped_column(Text)
    severity: Mapped[str] = mapped_column(String(16))
    sentences: Mapped[Any] = mapped_column(JsonDocument, nullable=False)
    began_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DoseRecord(Base):
    """One irradiation event of a radiation dose report (PS3.16 TID 10013 and TID 10003).

    Attributes
    ----------
    protocol : Acquisition Protocol as the modality wrote it.
    ctdi_vol_mgy, dlp_mgy_cm : of CT; dose_area_gy_m2 : of projections; glandular_dose_mgy : of mammography.
    """

    __tablename__ = "monitoring_doses"

    id: Mapped[int] = mapped_column(Identifier, primary_key=True, autoincrement=True)
    orthanc_study_id: Mapped[str] = mapped_column(String(ORTHANC_ID_LENGTH))
    modality: Mapped[str] = mapped_column(String(16))
    station: Mapped[str] = mapped_column(Text)
    protocol: Mapped[str] = mapped_column(Text)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ctdi_vol_mgy: Mapped[float | None]
    dlp_mgy_cm: Mapped[float | None]
    dose_area_gy_m2: Mapped[float | None]
    glandular_dose_mgy: Mapped[float | None]

    __table_args__ = (
        Index("ix_monitoring_doses_received_at", "received_at"),
        Index("ix_monitoring_doses_study", "orthanc_study_id"),
    )
