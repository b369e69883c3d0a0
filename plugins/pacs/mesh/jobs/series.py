"""A series of the archive as the source of a model: which instances it has and where their files are."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from pacs.errors import NotFound
from pacs.mesh.errors import NoImages
from pacs.ports import Archive, Json

_ORTHANC_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """An instance and its file in Orthanc's storage."""

    orthanc_instance_id: str
    sop_instance_uid: str
    attachment_id: str
    size_bytes: int


@dataclass(frozen=True)
class SourceSeries:
    """A series that a model is made of; nothing of the patient.

    Attributes
    ----------
    instances : by SOPInstanceUID.
    """

    orthanc_series_id: str
    orthanc_study_id: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    number: str
    description: str
    instances: tuple[StoredInstance, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of what the series consists of: another image in it, another digest."""
        digest = hashlib.sha256()
        for one in self.instances:
            digest.update(f"{one.sop_instance_uid} {one.attachment_id} {one.size_bytes}\n".encode())
        return digest.hexdigest()


def find_series(archive: Archive, identifier: str) -> SourceSeries:
    """Return a series by Orthanc's identifier or by its SeriesInstanceUID.

    Raises
    ------
    NotFound : there is none, or patients with different IDs share the UID, so that Orthanc's identifier is needed.
    NoImages : it has no instance any more.
    """
    series = archive.get_json(f"/series/{_orthanc_series_id(archive, identifier)}")
    study = archive.get_json(f"/studies/{series['ParentStudy']}")
    instances = tuple(
        sorted(map(_instance, _instances_of(archive, series["ID"])), key=lambda one: one.sop_instance_uid)
    )
    if not instances:
        raise NoImages("Expected a series with images, found one without any instance.")
    tags = series["MainDicomTags"]
    return SourceSeries(
        orthanc_series_id=series["ID"],
        orthanc_study_id=study["ID"],
        study_instance_uid=study["MainDicomTags"].get("StudyInstanceUID", ""),
        series_instance_uid=tags.get("SeriesInstanceUID", ""),
        modality=tags.get("Modality", ""),
        number=tags.get("SeriesNumber", "").strip(),
        description=tags.get("SeriesDescription") or tags.get("ProtocolName", ""),
        instances=instances,
    )


def _orthanc_series_id(archive: Archive, identifier: str) -> str:
    if _ORTHANC_ID.fullmatch(identifier):
        return identifier
    if not _UID.fullmatch(identifier):
        raise NotFound(f"Expected Orthanc's identifier of a series or a SeriesInstanceUID, found {identifier[:80]!r}.")
    found = [one["ID"] for one in archive.post_bytes("/tools/lookup", identifier.encode()) if one["Type"] == "Series"]
    if len(found) != 1:
        raise NotFound(
            f"Expected one series {identifier} in the archive, found {len(found)}.",
            remedy="Name it by Orthanc's identifier." if found else "It may have been removed or corrected.",
        )
    return str(found[0])


def _instances_of(archive: Archive, orthanc_series_id: str) -> list[Json]:
    found: list[Json] = archive.get_json(f"/series/{orthanc_series_id}/instances?expand")
    return found


def _instance(entry: Json) -> StoredInstance:
    return StoredInstance(
        orthanc_instance_id=entry["ID"],
        sop_instance_uid=entry["MainDicomTags"].get("SOPInstanceUID", ""),
        attachment_id=entry["FileUuid"],
        size_bytes=int(entry["FileSize"]),
    )
