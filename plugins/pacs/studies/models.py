"""Tables of the study index and of the change feed."""

from __future__ import annotations

from datetime import date, datetime, time

from sqlalchemy import BigInteger, Date, Index, String, Text, Time
from sqlalchemy.orm import Mapped, mapped_column

from pacs.database.base import Base
from pacs.database.types import Identifier, UtcDateTime

ORTHANC_ID_LENGTH = 44
SEARCHED = (
    "newest_first_key",
    "id",
    "name_key",
    "identifiers_key",
    "description_key",
    "modalities_key",
    "patient_id_key",
    "accession_number_key",
)


class StudyRecord(Base):
    """A study of the archive, as the Studies page lists it. Orthanc has the truth; `StudyIndex` copies it here.

    Attributes
    ----------
    patient_name, referring_physician : as DICOM has them (VR PN), all component groups.
    name_key, description_key, identifiers_key : see `names.search_key`; the last is of patient ID and accession number.
    patient_id_key, accession_number_key : folded, for exact and wildcard search.
    newest_first_key : study date and time as YYYYMMDDHHMMSS, "" without a date: sorted backwards, the list's order.
    modalities_key, body_parts_key : values parted and enclosed by "|": |CT|SR|; "" for none.
    remote_aet : application entity title that sent its first series, "" when it did not come by DICOM.
    size_bytes : of all its DICOM files, None until it was stable for the first time.
    received_at : when its first instance came.
    last_update_at : Orthanc's LastUpdate: instances added or deleted.
    is_stable : no instance came for Orthanc's StableAge.
    """

    __tablename__ = "studies"

    id: Mapped[int] = mapped_column(Identifier, primary_key=True, autoincrement=True)
    orthanc_study_id: Mapped[str] = mapped_column(String(ORTHANC_ID_LENGTH), unique=True)
    study_instance_uid: Mapped[str] = mapped_column(Text, index=True)
    patient_name: Mapped[str] = mapped_column(Text)
    patient_id: Mapped[str] = mapped_column(Text)
    issuer_of_patient_id: Mapped[str] = mapped_column(Text)
    patient_birth_date: Mapped[date | None] = mapped_column(Date)
    patient_sex: Mapped[str] = mapped_column(Text)
    accession_number: Mapped[str] = mapped_column(Text)
    study_date: Mapped[date | None] = mapped_column(Date)
    study_time: Mapped[time | None] = mapped_column(Time)
    description: Mapped[str] = mapped_column(Text)
    referring_physician: Mapped[str] = mapped_column(Text)
    institution: Mapped[str] = mapped_column(Text)
    station_name: Mapped[str] = mapped_column(Text)
    remote_aet: Mapped[str] = mapped_column(Text)
    series_count: Mapped[int]
    instance_count: Mapped[int]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_update_at: Mapped[datetime] = mapped_column(UtcDateTime)
    is_stable: Mapped[bool]
    name_key: Mapped[str] = mapped_column(Text)
    identifiers_key: Mapped[str] = mapped_column(Text)
    description_key: Mapped[str] = mapped_column(Text)
    patient_id_key: Mapped[str] = mapped_column(Text)
    accession_number_key: Mapped[str] = mapped_column(Text)
    modalities_key: Mapped[str] = mapped_column(Text)
    body_parts_key: Mapped[str] = mapped_column(Text)
    newest_first_key: Mapped[str] = mapped_column(String(14))

    __table_args__ = (
        Index("ix_studies_received_at", "received_at"),
        Index("ix_studies_patient_id_key", "patient_id_key"),
        Index("ix_studies_accession_number_key", "accession_number_key"),
        # All that searches compare, in the order of the list: a search walks this index and never touches the table.
        Index("ix_studies_search", *SEARCHED),
    )


class ChangeCursorRecord(Base):
    """How far a change feed has read Orthanc's /changes, and which process reads.

    Attributes
    ----------
    sequence : Orthanc's number of the last change that is delivered.
    last_resource_id, last_change_at : of that change, to notice that Orthanc's database is another one.
    skip_before : after Orthanc's database was restored, older changes were delivered from the former one.
    holder, held_until : the process that reads, and when another one may take over.
    """

    __tablename__ = "change_cursors"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    last_resource_id: Mapped[str] = mapped_column(String(64))
    last_change_at: Mapped[datetime] = mapped_column(UtcDateTime)
    skip_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    holder: Mapped[str | None] = mapped_column(String(255))
    held_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


class UnsettledRecord(Base):
    """A study or series that got instances and was not yet told to be stable.

    Orthanc forgets these when it stops; the feed tells subscribers itself then.

    Attributes
    ----------
    level : "Study" or "Series".
    touched_at : when its last instance came (Orthanc's clock).
    """

    __tablename__ = "unsettled_resources"

    orthanc_id: Mapped[str] = mapped_column(String(ORTHANC_ID_LENGTH), primary_key=True)
    level: Mapped[str] = mapped_column(String(16))
    orthanc_study_id: Mapped[str] = mapped_column(String(ORTHANC_ID_LENGTH), index=True)
    touched_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
