"""Orthanc's index, read past Orthanc: every attachment with its size and hash, what is new, and a moment of stillness.

Tables of Orthanc 1.12 (its SQLite, and orthanc-postgresql 5.0 to 7): AttachedFiles, Resources, Changes, MainDicomTags.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, bindparam, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from pacs.backup.errors import BackupError, BackupSettingsError
from pacs.database.engines import shown

DICOM = 1
_ROWS_AT_ONCE = 5000
_LOCK_SECONDS = 5
_STUDY_INSTANCE_UID = "taggroup = 32 AND tagelement = 13"
_PATIENT_ID = "taggroup = 16 AND tagelement = 32"
_COLUMNS = "a.id, a.filetype, a.uuid, a.compressedsize, a.uncompressedsize, a.compressedhash, a.uncompressedhash"
# Orthanc's ChangeType_UpdatedAttachment: what plugins attach to resources that are there already.
_UPDATED_ATTACHMENT = 15
_RECEPTION_DATE = 2
# What stands in the index of a yearly export: level and tag.
_STUDY_TAGS = {
    "PatientID": ("patient", 0x00100020),
    "PatientName": ("patient", 0x00100010),
    "PatientBirthDate": ("patient", 0x00100030),
    "PatientSex": ("patient", 0x00100040),
    "StudyInstanceUID": ("study", 0x0020000D),
    "StudyDate": ("study", 0x00080020),
    "StudyTime": ("study", 0x00080030),
    "AccessionNumber": ("study", 0x00080050),
    "StudyDescription": ("study", 0x00081030),
}
_LEVELS = ("patients", "studies", "series", "instances")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A row of the index that names a file.

    Attributes
    ----------
    resource : Orthanc's internal number of the resource that it belongs to.
    kind : Orthanc's file type, 1 for DICOM.
    size_bytes, md5 : of the file as it is stored, compressed where Orthanc compresses.
    content_bytes, content_md5 : of what is in it.
    """

    resource: int
    kind: int
    uuid: str
    size_bytes: int
    content_bytes: int
    md5: str
    content_md5: str


@dataclass(frozen=True)
class Cursor:
    """How far the index was read: the last resource and the last change that were there."""

    resource: int = 0
    change: int = 0


@dataclass(frozen=True)
class Point:
    """A moment that the database can be restored to, at which every file that it names is in the backup.

    Attributes
    ----------
    lsn : place in PostgreSQL's log, "" on SQLite.
    timeline : of the log, as PostgreSQL writes it (00000001).
    """

    at: datetime
    lsn: str
    cursor: Cursor
    timeline: str = ""


@dataclass(frozen=True)
class StudyName:
    """A study as reports name it: by identifiers, never by the patient's name."""

    orthanc_study_id: str
    study_instance_uid: str


class OrthancIndex:
    """Reads the index; writes nothing. Not for use from several threads at once.

    Parameters
    ----------
    url : postgresql://user:password@/orthanc?host=/run/postgresql, or sqlite:////path/index while Orthanc is stopped
        (it holds its SQLite by an exclusive lock).
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self.is_postgresql = self._engine.dialect.name == "postgresql"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Give one moment of the index: what others commit while the block runs is not seen."""
        engine = self._engine
        if self.is_postgresql:
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with _named_faults(), engine.connect() as connection, connection.begin():
            yield Reading(connection)

    def paged(self) -> Iterator[Attachment]:
        """Yield all attachments, some thousands at a time, with no transaction open in between: it may take hours."""
        after = (-1, -1)
        while True:
            with self.reading() as reading:
                page = list(reading.attachments(after=after, limit=_ROWS_AT_ONCE))
            yield from page
            if len(page) < _ROWS_AT_ONCE:
                return
            after = (page[-1].resource, page[-1].kind)

    def switch_log(self) -> None:
        """Have PostgreSQL archive its log up to now, so that a restore point can be used at once."""
        if self.is_postgresql:
            with _named_faults(), self._engine.connect() as connection:
                connection.execute(text("SELECT pg_switch_wal()"))

    @contextmanager
    def still(self) -> Iterator[Reading]:
        """Hold back whoever adds or removes attachments while the block runs: some milliseconds.

        Orthanc writes a file before its row and removes it after, so while rows stand still every file that a row
        names is on the disk. Raises BackupError when the lock does not come within 5 s.
        """
        with _named_faults(), self._engine.connect() as connection, connection.begin():
            if self.is_postgresql:
                connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"))
                connection.execute(text("LOCK TABLE attachedfiles IN SHARE MODE"))
            else:
                connection.exec_driver_sql("SELECT 1")
            yield Reading(connection)


class Reading:
    """The index at one moment."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._is_postgresql = connection.dialect.name == "postgresql"

    def attachments(self, *, after: tuple[int, int] = (-1, -1), limit: int | None = None) -> Iterator[Attachment]:
        """Yield attachments in the order of resource and kind, those after a place in it."""
        limited = "" if limit is None else f" LIMIT {int(limit)}"
        query = f"SELECT {_COLUMNS} FROM AttachedFiles a WHERE (a.id, a.filetype) > (:id, :kind) ORDER BY 1, 2{limited}"  # noqa: S608
        yield from self._attachments(query, id=after[0], kind=after[1])

    def attachments_since(self, cursor: Cursor) -> Iterator[Attachment]:
        """Yield what came after a cursor: attachments of new resources, and new ones of older resources."""
        by_resource = f"SELECT {_COLUMNS} FROM AttachedFiles a WHERE a.id > :id"  # noqa: S608
        by_change = (
            f"SELECT {_COLUMNS} FROM AttachedFiles a WHERE a.id <= :id AND a.id IN "  # noqa: S608
            f"(SELECT internalid FROM Changes WHERE seq > :seq AND changetype = {_UPDATED_ATTACHMENT})"
        )
        yield from self._attachments(by_resource, id=cursor.resource)
        yield from self._attachments(by_change, id=cursor.resource, seq=cursor.change)

    def attachments_below(self, orthanc_id: str) -> list[Attachment]:
        """Return the DICOM files of a study, a patient or another resource, by Orthanc's identifier of it."""
        query = f"""WITH RECURSIVE below(id) AS (SELECT internalid FROM Resources WHERE publicid = :one
            UNION ALL SELECT r.internalid FROM Resources r JOIN below ON r.parentid = below.id)
            SELECT {_COLUMNS} FROM AttachedFiles a JOIN below ON a.id = below.id WHERE a.filetype = {DICOM}"""  # noqa: S608
        return list(self._attachments(query, one=orthanc_id))

    def count(self) -> int:
        """Return how many attachments there are."""
        return int(self._connection.execute(text("SELECT COUNT(*) FROM AttachedFiles")).scalar_one())

    def totals(self) -> dict[str, int]:
        """Return how many rows of each kind there are, and the bytes of all files."""
        rows = self._connection.execute(text("SELECT resourcetype, COUNT(*) FROM Resources GROUP BY 1"))
        totals = dict.fromkeys(_LEVELS, 0) | {_LEVELS[level]: count for level, count in rows}
        files = self._connection.execute(text("SELECT COUNT(*), COALESCE(SUM(compressedsize), 0) FROM AttachedFiles"))
        totals["attachments"], totals["attachment_bytes"] = map(int, files.one())
        return totals

    def end(self) -> Cursor:
        """Return the cursor behind everything that is there now."""
        newest = (
            "SELECT (SELECT COALESCE(MAX(internalid), 0) FROM Resources), (SELECT COALESCE(MAX(seq), 0) FROM Changes)"
        )
        return Cursor(*self._connection.execute(text(newest)).one())

    def timeline(self) -> str:
        """Return the timeline of PostgreSQL's log: another one after each restore; "" on SQLite."""
        if not self._is_postgresql:
            return ""
        return str(self._connection.execute(text("SELECT pg_walfile_name(pg_current_wal_lsn())")).scalar_one())[:8]

    def point(self) -> Point:
        """Mark this moment in PostgreSQL's log. Our own commit follows it: PostgreSQL finds a time by commits alone."""
        if not self._is_postgresql:
            return Point(datetime.now(UTC), "", self.end())
        self._connection.execute(text("SELECT pg_current_xact_id()"))
        at = self._connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        name = f"pacs_{at.astimezone(UTC):%Y%m%dT%H%M%S}"
        lsn = self._connection.execute(text("SELECT pg_create_restore_point(:name)::text"), {"name": name}).scalar_one()
        return Point(at.astimezone(UTC), lsn, self.end(), self.timeline())

    def studies_of(self, resources: Iterable[int]) -> dict[int, StudyName]:
        """Return the study of each resource; patients and what is gone have none."""
        query = text(f"""WITH RECURSIVE up(start, id, level, parent) AS (
            SELECT internalid, internalid, resourcetype, parentid FROM Resources WHERE internalid IN :those
            UNION ALL SELECT up.start, r.internalid, r.resourcetype, r.parentid
            FROM Resources r JOIN up ON r.internalid = up.parent WHERE up.level > 1)
            SELECT up.start, r.publicid, t.value FROM up JOIN Resources r ON r.internalid = up.id
            LEFT JOIN MainDicomTags t ON t.id = up.id AND {_STUDY_INSTANCE_UID}
            WHERE up.level = 1""").bindparams(bindparam("those", expanding=True))  # noqa: S608
        found: dict[int, StudyName] = {}
        for some in batched(sorted(set(resources)), _ROWS_AT_ONCE, strict=False):
            rows = self._connection.execute(query, {"those": list(some)})
            found |= {start: StudyName(public, str(uid or "").strip()) for start, public, uid in rows}
        return found

    def names_of(self, resources: Iterable[int]) -> dict[int, str]:
        """Return the address of each resource in Orthanc's API, /instances/... or above; what is gone has none."""
        query = text("SELECT internalid, resourcetype, publicid FROM Resources WHERE internalid IN :those").bindparams(
            bindparam("those", expanding=True)
        )
        found: dict[int, str] = {}
        for some in batched(sorted(set(resources)), _ROWS_AT_ONCE, strict=False):
            rows = self._connection.execute(query, {"those": list(some)})
            found |= {one: f"/{_LEVELS[level]}/{public}" for one, level, public in rows}
        return found

    def find_studies(self, study_instance_uid: str) -> list[str]:
        """Return Orthanc's identifiers of the studies with this UID."""
        return self._find(1, _STUDY_INSTANCE_UID, study_instance_uid)

    def find_patients(self, patient_id: str) -> list[str]:
        """Return Orthanc's identifiers of the patients with this PatientID."""
        return self._find(0, _PATIENT_ID, patient_id)

    def random_studies(self, count: int) -> list[StudyName]:
        """Return so many studies by chance, each with at least one series."""
        rows = self._connection.execute(
            text(f"""SELECT r.internalid, r.publicid, t.value FROM Resources r
            LEFT JOIN MainDicomTags t ON t.id = r.internalid AND {_STUDY_INSTANCE_UID}
            WHERE r.resourcetype = 1 ORDER BY RANDOM() LIMIT :count"""),  # noqa: S608
            {"count": count},
        )
        return [StudyName(public, str(uid or "").strip()) for _, public, uid in rows]

    def studies_of_year(self, year: int) -> list[dict[str, str]]:
        """Return the studies of a year with what identifies them, oldest first, by keyword of DICOM.

        By StudyDate; those without one by the day on which their first image came (metadata ReceptionDate).
        """
        columns = ", ".join(
            f"COALESCE((SELECT value FROM MainDicomTags WHERE id = s.{level} AND taggroup = {tag >> 16} "  # noqa: S608
            f"AND tagelement = {tag & 0xFFFF}), '')"
            for level, tag in _STUDY_TAGS.values()
        )
        came = f"""SELECT MIN(m.value) FROM Resources i JOIN Resources e ON i.parentid = e.internalid
            JOIN Metadata m ON m.id = i.internalid AND m.type = {_RECEPTION_DATE} WHERE e.parentid = s.study"""  # noqa: S608
        query = f"""SELECT s.publicid, {columns}, ({came}) FROM
            (SELECT internalid AS study, parentid AS patient, publicid FROM Resources WHERE resourcetype = 1) s"""  # noqa: S608
        found = []
        for public, *values, received in self._connection.execute(text(query)):
            study = dict(zip(_STUDY_TAGS, (str(value).strip() for value in values), strict=True)) | {
                "OrthancID": public
            }
            day = study["StudyDate"] if study["StudyDate"][:4].isdigit() else str(received or "")
            if day.startswith(str(year)):
                found.append(study)
        return sorted(found, key=lambda one: (one["StudyDate"], one["StudyInstanceUID"]))

    def _find(self, level: int, tag: str, value: str) -> list[str]:
        query = f"""SELECT r.publicid FROM Resources r JOIN MainDicomTags t ON t.id = r.internalid AND {tag}
            WHERE r.resourcetype = :level AND TRIM(t.value) = :value"""  # noqa: S608
        return list(self._connection.execute(text(query), {"level": level, "value": value.strip()}).scalars())

    def _attachments(self, query: str, **values: object) -> Iterator[Attachment]:
        streamed = self._connection.execution_options(stream_results=True, max_row_buffer=_ROWS_AT_ONCE)
        with streamed.execute(text(query), values) as rows:
            yield from (_attachment(row) for row in rows)


def _attachment(row: Sequence[Any]) -> Attachment:
    resource, kind, uuid, size, content, md5, content_md5 = row
    return Attachment(resource, kind, str(uuid), size, content, md5 or "", content_md5 or "")


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise BackupSettingsError("The address of Orthanc's index is not a URL.") from None
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite":
        parsed = parsed.set(database=f"file:{parsed.database}", query={"mode": "ro", "uri": "true"})
    return create_engine(parsed, hide_parameters=True, poolclass=NullPool)


@contextmanager
def _named_faults() -> Iterator[None]:
    """Tell a fault of the database as one of ours, without the values of the statement."""
    try:
        yield
    except DBAPIError as error:
        words = str(error.orig).splitlines()[0] if str(error.orig) else type(error.orig).__name__
        raise BackupError(
            f"Orthanc's index can't be read: {words}.",
            remedy="Is PostgreSQL running? SQLite's index can be read only while Orthanc is stopped.",
        ) from None


def name_of(url: str) -> str:
    """Return the index's address without its password."""
    return shown(make_url(url))
