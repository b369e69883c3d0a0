"""The instances of a study as they are to be sent: where their files are, and where they came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from pacs.errors import NotFound
from pacs.ports import Archive, Json

# Fewer than LimitFindInstances, beyond which Orthanc cuts its answer without a word.
_AT_ONCE = 10_000
_DICOM_FILE = 1


@dataclass(frozen=True, slots=True)
class OutgoingInstance:
    """An instance of the archive.

    Attributes
    ----------
    came_from : AE title that sent it here; empty when it did not come by DICOM.
    came_by : address that sent it here.
    path : its file; empty until it is found.
    """

    orthanc_instance_id: str
    orthanc_series_id: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax: str
    attachment_id: str
    size_bytes: int
    came_from: str
    came_by: str
    path: str = ""

    def as_argument(self, study_instance_uid: str) -> dict[str, Json]:
        """Return what the child is told."""
        return {
            "path": self.path,
            "study": study_instance_uid,
            "series": self.series_instance_uid,
            "sop_class": self.sop_class_uid,
            "sop_instance": self.sop_instance_uid,
            "syntax": self.transfer_syntax,
        }


def instances_of(archive: Archive, orthanc_study_id: str, series: Sequence[str] | None) -> list[OutgoingInstance]:
    """Return the instances of a study, or of some of its series, series by series.

    Raises
    ------
    NotFound : the study is not in the archive (any more).
    """
    all_series = {one["ID"]: one for one in archive.get_json(f"/studies/{orthanc_study_id}/series?expand")}
    found = [
        _instance(entry, all_series[entry["ParentSeries"]])
        for entry in _found(archive, orthanc_study_id)
        if entry["ParentSeries"] in all_series and (series is None or entry["ParentSeries"] in series)
    ]
    return sorted(found, key=lambda one: (one.series_instance_uid, one.sop_instance_uid))


def instance_of(archive: Archive, orthanc_study_id: str, orthanc_instance_id: str) -> OutgoingInstance:
    """Return one instance of a study, whatever the study's size. Raises as `instances_of`."""
    found = archive.get_json(f"/instances/{orthanc_instance_id}")
    # Not /series/ID, which names each of its instances.
    asked = {"Level": "Series", "Query": {}, "ParentStudy": orthanc_study_id, "ResponseContent": ["MainDicomTags"]}
    all_series = {one["ID"]: one for one in archive.post_json("/tools/find", asked)}
    if found["ParentSeries"] not in all_series:
        raise NotFound("This instance is of another study.")
    return _instance(found, all_series[found["ParentSeries"]])


def _found(archive: Archive, orthanc_study_id: str) -> Iterator[Json]:
    """Yield all that Orthanc knows of the instances of a study, in half the time of /tools/bulk-content."""
    asked = {
        "Level": "Instance",
        "Query": {},
        "ParentStudy": orthanc_study_id,
        "ResponseContent": ["MainDicomTags", "Metadata", "Attachments", "Parent"],
        "Limit": _AT_ONCE,
    }
    for page in count():
        entries = archive.post_json("/tools/find", {**asked, "Since": page * _AT_ONCE})
        yield from entries
        if len(entries) < _AT_ONCE:
            return


def _instance(entry: Json, series: Json) -> OutgoingInstance:
    metadata = entry.get("Metadata", {})
    file: Json = next((one for one in entry.get("Attachments", []) if one["ContentType"] == _DICOM_FILE), {})
    return OutgoingInstance(
        orthanc_instance_id=entry["ID"],
        orthanc_series_id=series["ID"],
        series_instance_uid=series["MainDicomTags"].get("SeriesInstanceUID", ""),
        sop_instance_uid=entry["MainDicomTags"].get("SOPInstanceUID", ""),
        sop_class_uid=metadata.get("SopClassUid", ""),
        transfer_syntax=metadata.get("TransferSyntax", ""),
        attachment_id=file.get("Uuid", ""),
        size_bytes=int(file.get("UncompressedSize", 0)),
        came_from=metadata.get("RemoteAET", ""),
        came_by=metadata.get("RemoteIP", ""),
    )
