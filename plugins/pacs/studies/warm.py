"""Has the DICOMweb plugin keep each complete series' metadata at hand, so that a viewer opens it at once.

The plugin (1.20) computes it itself when Orthanc calls a series stable, and keeps it as attachment 4301 of the
series. When Orthanc stops before that, it is never told; and it may fail or be switched off while computing. Then
the first viewer would wait: so a while after "stable" we look whether it is there, and else read it once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy.orm import Session

from pacs.errors import NotFound
from pacs.ports import Archive, ChangeKind
from pacs.studies.changes import FeedChange
from pacs.studies.cursor import utc_now
from pacs.studies.feed import ChangeFeed
from pacs.work import Claim, WorkQueue

QUEUE_NAME = "warm-metadata"
_ATTACHMENT = "4301"
_PRIORITY = -10
# The plugin is busy with it right after the series is stable.
_PAUSE = timedelta(seconds=30)


def subscribe(feed: ChangeFeed, queue: WorkQueue) -> None:
    """Put a piece of work into `queue` for each series that becomes stable."""

    def put(session: Session, change: FeedChange) -> None:
        queue.put(
            {"orthanc_series_id": change.resource_id},
            dedupe=f"{change.resource_id} {change.sequence or change.at.isoformat()}",
            priority=_PRIORITY,
            not_before=utc_now() + _PAUSE,
            session=session,
        )

    feed.subscribe({ChangeKind.STABLE_SERIES}, put)


def handler(archive: Archive) -> Callable[[Claim], dict[str, bool]]:
    """Return what works the queue: reads the metadata of a series unless Orthanc has it at hand."""

    def work(claim: Claim) -> dict[str, bool]:
        return {"warmed": warm(archive, claim.item.payload["orthanc_series_id"])}

    return work


def warm(archive: Archive, orthanc_series_id: str) -> bool:
    """Read the metadata of a series, so that the plugin keeps it; tell whether that was needed.

    A series that was deleted meanwhile needs nothing.
    """
    try:
        if _ATTACHMENT in archive.get_json(f"/series/{orthanc_series_id}/attachments"):
            return False
        series = archive.get_json(f"/series/{orthanc_series_id}")
        study = archive.get_json(f"/studies/{series['ParentStudy']}")
        study_uid, series_uid = study["MainDicomTags"]["StudyInstanceUID"], series["MainDicomTags"]["SeriesInstanceUID"]
        archive.get_bytes(f"/dicom-web/studies/{study_uid}/series/{series_uid}/metadata")
    except NotFound:
        return False
    return True
