"""What stands in the queue, and a job as whoever ordered it sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict

from pacs.mesh.jobs.series import SourceSeries
from pacs.mesh.recipe import Format, Recipe
from pacs.work import WorkItem, WorkState

CRASHED = "process-crashed"


class OrderKind(StrEnum):
    """What is to be done."""

    MODEL = "model"
    SAVE = "save"


class SeriesNote(BaseModel):
    """What a list of models tells of a series; nothing of the patient but what leads to the study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    orthanc_series_id: str
    orthanc_study_id: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    number: str
    description: str

    @classmethod
    def of(cls, series: SourceSeries) -> Self:
        """Note a series."""
        return cls(**{name: getattr(series, name) for name in cls.model_fields})


class Order(BaseModel):
    """The payload of a work item.

    Attributes
    ----------
    images : Orthanc's identifier of the series that contours were drawn on, where the named one is an RTSTRUCT.
    needed_bytes : memory, as estimated beforehand.
    actor : who ordered it.
    model : for `SAVE`, the key of the finished model; `formats` is what of it is to be saved.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: OrderKind
    series: SeriesNote
    recipe: Recipe
    actor: str
    images: str | None = None
    needed_bytes: int = 0
    model: str = ""
    formats: tuple[Format, ...] = ()


class JobState(StrEnum):
    """How a job is doing."""

    WAITING = "waiting"
    WORKING = "working"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_STATES = {
    WorkState.WORKING: JobState.WORKING,
    WorkState.DONE: JobState.DONE,
    WorkState.FAILED: JobState.FAILED,
    WorkState.SKIPPED: JobState.FAILED,
    WorkState.CANCELLED: JobState.CANCELLED,
}


@dataclass(frozen=True)
class ModelJob:
    """One job.

    Attributes
    ----------
    stage : what is being done, a word of the pipeline; empty before the first.
    fraction : of the whole job, 0 to 1.
    error, error_code : why it failed; the code of the fault.
    model : key of the finished model, empty before.
    cached : whether it was on the shelf already.
    saved : Orthanc's identifiers of the instances that a `SAVE` made.
    """

    job_id: int
    order: Order
    state: JobState
    stage: str
    fraction: float
    attempts: int
    error: str
    error_code: str
    model: str
    cached: bool
    saved: tuple[str, ...]
    ordered_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, item: WorkItem) -> Self:
        """Read a work item."""
        progress, result = item.progress or {}, item.result or {}
        state = _STATES.get(item.state, JobState.WAITING)
        is_done, has_failed = state is JobState.DONE, state is JobState.FAILED
        return cls(
            job_id=item.id,
            order=Order.model_validate(item.payload),
            state=state,
            stage="" if is_done else str(progress.get("stage", "")),
            fraction=1.0 if is_done else float(progress.get("fraction", 0.0)),
            attempts=item.attempts,
            error=(item.last_error or "") if has_failed else "",
            # A job that never told why was given up because its process, ours or Orthanc's, ended again and again.
            error_code=str(progress.get("code", CRASHED)) if has_failed else "",
            model=str(result.get("model", "")),
            cached=bool(result.get("cached", False)),
            saved=tuple(result.get("instances", ())),
            ordered_at=item.received_at,
            started_at=item.started_at,
            finished_at=item.finished_at,
        )

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in {JobState.DONE, JobState.FAILED, JobState.CANCELLED}
