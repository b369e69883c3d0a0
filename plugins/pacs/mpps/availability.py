"""Instance Availability Notification (PS3.4 annex R): whoever wants to know is told which images can be fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID, generate_uid
from pynetdicom.sop_class import InstanceAvailabilityNotification  # type: ignore[attr-defined]
from sqlalchemy import select
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.errors import NotFound
from pacs.mpps.models import PerformedReferenceRecord, PerformedStepRecord
from pacs.mpps.scu import Refused, ask
from pacs.mpps.stations import find_station
from pacs.ports import Archive, ChangeKind, Json
from pacs.studies import ChangeFeed, FeedChange
from pacs.studies.dicom_values import text
from pacs.work import Claim, NewItem, Reject, RetryPolicy, WorkQueue

QUEUE_NAME = "instance-availability"
_MPPS = "1.2.840.10008.3.1.2.3.3"
_DUPLICATE_INSTANCE = 0x0111
_ASKED = ["MainDicomTags", "Metadata"]


def open_queue(database: Database, retry_days: float) -> WorkQueue:
    """Return the queue of notifications to be sent."""
    return WorkQueue(
        database, QUEUE_NAME, policy=RetryPolicy(max_attempts=None, max_age_seconds=retry_days * 24 * 3600)
    )


def subscribe(feed: ChangeFeed, queue: WorkQueue, destinations: Sequence[str]) -> None:
    """Put a notification to each destination into the queue whenever a study becomes stable."""

    def put(session: Session, change: FeedChange) -> None:
        queue.put_many([_item(change, destination) for destination in destinations], session=session)

    feed.subscribe({ChangeKind.STABLE_STUDY}, put)


def handler(archive: Archive, database: Database) -> Callable[[Claim], Mapping[str, Any]]:
    """Return what works the queue: tells one destination of one study. A study that is gone is not told."""

    def work(claim: Claim) -> Mapping[str, Any]:
        """Tell one destination of one study. Raise Reject when it refuses."""
        payload = claim.item.payload
        own_ae_title = archive.get_json("/system")["DicomAet"]
        try:
            study = archive.get_json(f"/studies/{payload['orthanc_study_id']}")
        except NotFound:
            return {"sent": False}
        notification = _notification(archive, database, study, own_ae_title)
        station = find_station(archive, payload["destination"])
        sop_class = UID(InstanceAvailabilityNotification)
        uid = UID(payload["sop_instance_uid"])
        try:
            ask(station, own_ae_title, sop_class, lambda to: to.send_n_create(notification, sop_class, uid))
        except Refused as refusal:
            if not (claim.item.attempts > 1 and refusal.dimse_status == _DUPLICATE_INSTANCE):
                raise Reject(str(refusal)) from refusal
        return {"sent": True}

    return work


def _item(change: FeedChange, destination: str) -> NewItem:
    return NewItem(
        payload={
            "orthanc_study_id": change.resource_id,
            "destination": destination,
            # Chosen now: one that is sent twice is the same notification.
            "sop_instance_uid": str(generate_uid(prefix=None)),
        },
        key=f"{destination} {change.resource_id}",
    )


def _notification(archive: Archive, database: Database, study: Json, own_ae_title: str) -> Dataset:
    """Return the attributes of PS3.3 C.4.23 for all instances of a study."""
    tags = study["MainDicomTags"]
    notification = Dataset()
    notification.StudyInstanceUID = text(tags["StudyInstanceUID"])
    notification.ReferencedPerformedProcedureStepSequence = _performed(database, notification.StudyInstanceUID)
    series = archive.get_json(f"/studies/{study['ID']}/series")
    notification.ReferencedSeriesSequence = [_series(archive, each, own_ae_title) for each in series]
    return notification


def _performed(database: Database, study_instance_uid: str) -> list[Dataset]:
    statement = (
        select(PerformedStepRecord.sop_instance_uid)
        .join(PerformedReferenceRecord, PerformedReferenceRecord.performed_step_id == PerformedStepRecord.id)
        .where(PerformedReferenceRecord.study_instance_uid == study_instance_uid)
        .distinct()
    )
    with database.session() as session:
        return [_performed_step(uid) for uid in session.scalars(statement)]


def _performed_step(sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = _MPPS, sop_instance_uid
    item.PerformedWorkitemCodeSequence = []
    return item


def _series(archive: Archive, series: Json, own_ae_title: str) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = text(series["MainDicomTags"]["SeriesInstanceUID"])
    instances: Iterable[Json] = archive.post_json(
        "/tools/find",
        {
            "Level": "Instance",
            "Query": {"SeriesInstanceUID": item.SeriesInstanceUID},
            "ResponseContent": _ASKED,
        },
    )
    item.ReferencedSOPSequence = [_instance(each, own_ae_title) for each in instances]
    return item


def _instance(instance: Json, own_ae_title: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = text(instance["Metadata"]["SopClassUid"])
    item.ReferencedSOPInstanceUID = text(instance["MainDicomTags"]["SOPInstanceUID"])
    item.InstanceAvailability = "ONLINE"
    item.RetrieveAETitle = own_ae_title
    return item
