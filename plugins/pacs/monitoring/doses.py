"""What radiation dose reports say, an irradiation event a row: for the monthly report's comparison by protocol.

Sources: DICOM PS3.16 TID 10011 to 10013 (CT), TID 10001 to 10003 (projection X-ray and mammography).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.errors import NotFound
from pacs.monitoring.models import DoseRecord
from pacs.ports import Archive, Json
from pacs.studies.models import StudyRecord
from pacs.work import Claim, WorkQueue

_log = logging.getLogger(__name__)

QUEUE_NAME = "doses"
_DOSE_REPORT = "1.2.840.10008.5.1.4.1.1.88.67"
_PRIORITY = -10
# Codes of PS3.16 (scheme DCM).
_CT_ACQUISITION, _X_RAY_EVENT = "113819", "113706"
_PROTOCOL = "125203"
_CTDI_VOL, _DLP = "113830", "113838"
_DOSE_AREA, _GLANDULAR = "122130", "111631"
_EVENTS = frozenset({_CT_ACQUISITION, _X_RAY_EVENT})
# UCUM units in which a value may stand, as factors to ours.
_FACTORS: Mapping[str, Mapping[str, float]] = {
    _CTDI_VOL: {"mGy": 1.0, "Gy": 1000.0},
    _DLP: {"mGy.cm": 1.0, "mGycm": 1.0, "Gy.cm": 1000.0},
    _DOSE_AREA: {"Gy.m2": 1.0, "dGy.cm2": 1e-5, "cGy.cm2": 1e-6, "Gy.cm2": 1e-4, "mGy.cm2": 1e-7, "uGy.m2": 1e-6},
    _GLANDULAR: {"mGy": 1.0, "dGy": 100.0, "cGy": 10.0, "Gy": 1000.0},
}


@dataclass(frozen=True)
class Event:
    """One irradiation event; see `DoseRecord`."""

    protocol: str
    ctdi_vol_mgy: float | None = None
    dlp_mgy_cm: float | None = None
    dose_area_gy_m2: float | None = None
    glandular_dose_mgy: float | None = None

    @property
    def has_dose(self) -> bool:
        """Whether any figure is there."""
        figures = (self.ctdi_vol_mgy, self.dlp_mgy_cm, self.dose_area_gy_m2, self.glandular_dose_mgy)
        return any(figure is not None for figure in figures)


def events_of(report: Dataset) -> list[Event]:
    """Return the irradiation events of a dose report that have a dose."""
    found = (_event(item) for item in _items(report) if _code(item) in _EVENTS)
    return [event for event in found if event.has_dose]


def put(session: Session, queue: WorkQueue, orthanc_study_id: str, occasion: str) -> None:
    """Have the dose reports of a study read, where it has structured reports. In the caller's transaction.

    Parameters
    ----------
    occasion : two orders for the same are one.
    """
    statement = select(StudyRecord.modalities_key).where(StudyRecord.orthanc_study_id == orthanc_study_id)
    if "|SR|" in (session.scalars(statement).first() or ""):
        dedupe = f"{orthanc_study_id} {occasion}"
        queue.put({"orthanc_study_id": orthanc_study_id}, dedupe=dedupe, priority=_PRIORITY, session=session)


def handler(archive: Archive, database: Database) -> Callable[[Claim], Mapping[str, Any]]:
    """Return what works the queue: reads a study's dose reports and writes what they say."""

    def work(claim: Claim) -> Mapping[str, Any]:
        """Read a study's dose reports anew. A study that is gone has none."""
        orthanc_study_id = claim.item.payload["orthanc_study_id"]
        try:
            reports = list(_reports(archive, orthanc_study_id))
        except NotFound:
            return {"events": 0}
        with database.session(write=True) as session:
            return {"events": _write(session, orthanc_study_id, reports)}

    return work


def _reports(archive: Archive, orthanc_study_id: str) -> Iterator[Dataset]:
    for series in archive.get_json(f"/studies/{orthanc_study_id}/series"):
        if series["MainDicomTags"].get("Modality") == "SR":
            for instance_id in series["Instances"]:
                if _sop_class(archive, instance_id) == _DOSE_REPORT:
                    yield from _read(archive.get_bytes(f"/instances/{instance_id}/file"), instance_id)


def _sop_class(archive: Archive, instance_id: str) -> Json:
    return archive.get_bytes(f"/instances/{instance_id}/metadata/SopClassUid").decode()


def _read(content: bytes, instance_id: str) -> Iterator[Dataset]:
    try:
        yield dcmread(BytesIO(content), force=True)
    except InvalidDicomError as error:
        _log.warning("a dose report can't be read: %s", error, extra={"orthanc_instance_id": instance_id})


def _write(session: Session, orthanc_study_id: str, reports: list[Dataset]) -> int:
    """Write the events of a study instead of those that were known; return how many."""
    session.execute(delete(DoseRecord).where(DoseRecord.orthanc_study_id == orthanc_study_id))
    study = session.scalars(select(StudyRecord).where(StudyRecord.orthanc_study_id == orthanc_study_id)).first()
    if study is None:
        return 0
    modality = next((one for one in study.modalities_key.strip("|").split("|") if one != "SR"), "SR")
    rows = [
        DoseRecord(
            orthanc_study_id=orthanc_study_id,
            modality=modality[:16],
            station=study.remote_aet,
            received_at=study.received_at,
            **vars(event),
        )
        for report in reports
        for event in events_of(report)
    ]
    session.add_all(rows)
    return len(rows)


def _event(item: Dataset) -> Event:
    texts = [str(one.get("TextValue", "")) for one in _items(item) if _code(one) == _PROTOCOL]
    values = dict(_values(item))
    return Event(
        next((text.strip() for text in texts if text.strip()), ""),
        values.get(_CTDI_VOL),
        values.get(_DLP),
        values.get(_DOSE_AREA),
        values.get(_GLANDULAR),
    )


def _values(item: Dataset) -> Iterator[tuple[str, float]]:
    for one in _items(item):
        factors = _FACTORS.get(_code(one))
        measured = one.get("MeasuredValueSequence") or ()
        if factors is None or not measured:
            continue
        units = measured[0].get("MeasurementUnitsCodeSequence") or ()
        factor = factors.get(str(units[0].get("CodeValue", ""))) if units else None
        if factor is not None and measured[0].get("NumericValue") is not None:
            yield _code(one), float(measured[0].NumericValue) * factor


def _items(node: Dataset) -> Iterator[Dataset]:
    """Yield all content items below one."""
    for item in node.get("ContentSequence") or ():
        yield item
        yield from _items(item)


def _code(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence") or ()
    return str(names[0].get("CodeValue", "")) if names else ""
