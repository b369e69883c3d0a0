"""What the pages ask Orthanc about single instances."""

from __future__ import annotations

from dataclasses import dataclass

from pacs.decoding.syntaxes import transfer_syntax_of
from pacs.errors import NotFound
from pacs.ports import Archive


@dataclass(frozen=True)
class InstancePlace:
    """The UIDs in the DICOMweb address of an instance."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


def find_instance(archive: Archive, place: InstancePlace) -> str:
    """Return Orthanc's identifier of an instance.

    Raises
    ------
    NotFound : it is not there, or not in that study and series.
    """
    for found in archive.post_bytes("/tools/lookup", place.sop_instance_uid.encode()):
        if found["Type"] == "Instance" and _place(archive, found["ID"], place.sop_instance_uid) == place:
            return str(found["ID"])
    raise NotFound("Expected the UIDs of a study, a series and an instance of this archive, found others.")


def transfer_syntax(archive: Archive, orthanc_instance_id: str) -> str:
    """Return the transfer syntax of an instance; the file tells it where Orthanc does not know it (HTJ2K in 1.12.7).

    Raises
    ------
    NotFound : there is no such instance.
    """
    path = f"/instances/{orthanc_instance_id}"
    try:
        return archive.get_bytes(f"{path}/metadata/TransferSyntax").decode()
    except NotFound:
        return transfer_syntax_of(archive.get_bytes(f"{path}/file"))


def _place(archive: Archive, orthanc_instance_id: str, sop_instance_uid: str) -> InstancePlace:
    study, series = (archive.get_json(f"/instances/{orthanc_instance_id}/{level}") for level in ("study", "series"))
    study_uid = study["MainDicomTags"].get("StudyInstanceUID", "")
    return InstancePlace(study_uid, series["MainDicomTags"].get("SeriesInstanceUID", ""), sop_instance_uid)
