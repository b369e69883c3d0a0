"""What the core needs from the world around it, as protocols.

`orthanc_glue` implements them with Orthanc's embedded module, `pacs.archive_http` over HTTP for child
processes, the launcher and tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

# What Orthanc's REST API takes and gives as JSON.
type Json = Any


class Archive(Protocol):
    """Orthanc's REST API, plugins included (`/dicom-web/...` answers too).

    Every method raises `pacs.errors.NotFound` for what is not there and `pacs.errors.ArchiveError` for other faults.
    None may be called from within an Orthanc callback that holds a lock (change callbacks enqueue and return).
    """

    def get_json(self, path: str) -> Json:
        """GET `path` (with its query string) and decode the JSON answer."""

    def get_bytes(self, path: str) -> bytes:
        """GET `path` and return the body as it is."""

    def post_json(self, path: str, body: Json) -> Json:
        """POST `body` as JSON and decode the answer (None when it is empty)."""

    def post_bytes(self, path: str, body: bytes) -> Json:
        """POST `body` as it is, for example a DICOM file to /instances, and decode the answer."""

    def post_for_bytes(self, path: str, body: Json) -> bytes:
        """POST `body` as JSON and return the answer as it is, for example a changed DICOM file."""

    def put_json(self, path: str, body: Json) -> None:
        """PUT `body` as JSON."""

    def delete(self, path: str) -> None:
        """DELETE `path`."""


class ChangeKind(StrEnum):
    """Orthanc's changes that the core subscribes to, spelled as in Orthanc's /changes."""

    DELETED = "Deleted"
    NEW_INSTANCE = "NewInstance"
    NEW_SERIES = "NewSeries"
    NEW_STUDY = "NewStudy"
    STABLE_SERIES = "StableSeries"
    STABLE_STUDY = "StableStudy"
    UPDATED_ATTACHMENT = "UpdatedAttachment"
    UPDATED_METADATA = "UpdatedMetadata"
    JOB_SUCCESS = "JobSuccess"
    JOB_FAILURE = "JobFailure"
    UPDATED_PEERS = "UpdatedPeers"
    UPDATED_MODALITIES = "UpdatedModalities"


class ResourceLevel(StrEnum):
    """Levels of the DICOM hierarchy, spelled as in Orthanc's REST API."""

    PATIENT = "Patient"
    STUDY = "Study"
    SERIES = "Series"
    INSTANCE = "Instance"
    NONE = "None"


@dataclass(frozen=True)
class Change:
    """One change of the archive, told while it happens. It is a hint: after a crash it may never come.

    Attributes
    ----------
    resource_id : Orthanc's identifier of the resource (a hash), not a DICOM UID; a job's id for the job kinds.
    """

    kind: ChangeKind
    level: ResourceLevel
    resource_id: str


ChangeListener = Callable[[Change], None]
