"""Orthanc's jobs as the pages show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pacs.ports import Archive
from pacs.web.association import AssociationFault, classify


class JobState(StrEnum):
    """States of Orthanc's jobs, spelled as in its REST API."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCESS = "Success"
    FAILURE = "Failure"
    PAUSED = "Paused"
    RETRY = "Retry"


_OVER = frozenset({JobState.SUCCESS, JobState.FAILURE})


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes
    ----------
    kind : Orthanc's word for it, for example DicomModalityStore.
    progress : percent.
    target : AE title for a C-STORE job, else empty.
    """

    job_id: str
    kind: str
    state: JobState
    progress: int
    target: str
    instances: int
    created: datetime | None
    completed: datetime | None
    error: str
    error_details: str

    @classmethod
    def from_orthanc(cls, entry: Mapping[str, Any]) -> Job:
        """Read an answer of GET /jobs/{id}."""
        content = entry.get("Content") or {}
        content = content if isinstance(content, dict) else {}
        return cls(
            job_id=str(entry["ID"]),
            kind=str(entry["Type"]),
            state=JobState(entry["State"]),
            progress=int(entry.get("Progress", 0)),
            target=str(content.get("RemoteAet", "")),
            instances=int(content.get("InstancesCount", 0)),
            created=orthanc_moment(entry.get("CreationTime")),
            completed=orthanc_moment(entry.get("CompletionTime")),
            error=str(entry.get("ErrorDescription", "")) if entry.get("ErrorCode") else "",
            error_details=str(entry.get("ErrorDetails", "")),
        )

    @property
    def is_over(self) -> bool:
        """Whether the job won't go on by itself."""
        return self.state in _OVER

    @property
    def fault(self) -> AssociationFault:
        """Why a job that talks DICOM failed."""
        return classify(f"{self.error_details} {self.error}")


def get_job(archive: Archive, job_id: str) -> Job:
    """Return a job. Raise NotFound for one that Orthanc has forgotten."""
    return Job.from_orthanc(archive.get_json(f"/jobs/{job_id}"))


def list_jobs(archive: Archive) -> list[Job]:
    """Return Orthanc's jobs, those under way first, then the newest."""
    jobs = [Job.from_orthanc(entry) for entry in archive.get_json("/jobs?expand")]
    oldest = datetime.min.replace(tzinfo=UTC)
    jobs.sort(key=lambda job: job.created or oldest, reverse=True)
    return sorted(jobs, key=lambda job: job.is_over)


def orthanc_moment(text: str | None) -> datetime | None:
    """Read a time as Orthanc writes it, 20261122T014323.293641 in UTC."""
    if not text:
        return None
    try:
        return datetime.strptime(text.partition(".")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
