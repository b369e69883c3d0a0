"""Progress of modalities that report none: images that arrive tell that a step was started, and that it is done.

Never over a report: what a modality says by MPPS counts, images then change nothing.
"""

from __future__ import annotations

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from pacs.mpps.matching import MatchedStep, StepNames, match
from pacs.mpps.models import PerformedReferenceRecord
from pacs.mpps.settings import MppsSettings
from pacs.ports import ChangeKind, ResourceLevel
from pacs.studies import ChangeFeed, FeedChange
from pacs.studies.dicom_values import parted
from pacs.studies.models import StudyRecord, UnsettledRecord
from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import StepSelector
from pacs.worklist.worklist import Worklist

ACTOR = "images"
_WAITING = frozenset({StepStatus.SCHEDULED, StepStatus.ARRIVED, StepStatus.READY})
_UNDER_WAY = _WAITING | {StepStatus.STARTED}


class Progress:
    """Moves the worklist on by the archive's changes. Its methods run in the change feed's transaction."""

    def __init__(self, settings: MppsSettings, worklist: Worklist) -> None:
        self._settings = settings
        self._worklist = worklist

    def follow(self, feed: ChangeFeed) -> None:
        """Subscribe to what the settings let images tell."""
        if self._settings.started_by_images:
            # A step that is done later in the same study brings a new series.
            feed.subscribe({ChangeKind.NEW_STUDY, ChangeKind.NEW_SERIES}, self._on_images)
        if self._settings.completed_by_images:
            feed.subscribe({ChangeKind.STABLE_STUDY}, self._on_stable)

    def _on_images(self, session: Session, change: FeedChange) -> None:
        self._move_on(session, change, _WAITING, StepStatus.STARTED)

    def _on_stable(self, session: Session, change: FeedChange) -> None:
        self._move_on(session, change, _UNDER_WAY, StepStatus.COMPLETED)

    def _move_on(self, session: Session, change: FeedChange, when: frozenset[StepStatus], status: StepStatus) -> None:
        study = study_of(session, change)
        if study is None:
            return
        for step in match(session, names_of(study)).steps:
            if step.status in when and _fits(step, study) and not _is_reported(session, step):
                self._worklist.set_status(
                    session,
                    StepSelector(row_id=step.row_id),
                    status,
                    actor=ACTOR,
                    detail={"study_instance_uid": study.study_instance_uid},
                )


def study_of(session: Session, change: FeedChange) -> StudyRecord | None:
    """Return the study that a change is about, None when it is gone."""
    orthanc_study_id = change.resource_id
    if change.level is ResourceLevel.SERIES:
        statement = select(UnsettledRecord.orthanc_study_id).where(UnsettledRecord.orthanc_id == change.resource_id)
        orthanc_study_id = session.scalars(statement).one_or_none() or ""
    return session.scalars(select(StudyRecord).where(StudyRecord.orthanc_study_id == orthanc_study_id)).one_or_none()


def names_of(study: StudyRecord) -> StepNames:
    """Return what of a study names its steps."""
    return StepNames(
        study_instance_uid=study.study_instance_uid,
        accession_number=study.accession_number,
        patient_id=study.patient_id,
        issuer_of_patient_id=study.issuer_of_patient_id,
    )


def _fits(step: MatchedStep, study: StudyRecord) -> bool:
    """Tell whether images of the step's modality are there: a procedure may have steps of several."""
    modalities = parted(study.modalities_key)
    return not step.modality or not modalities or step.modality in modalities


def _is_reported(session: Session, step: MatchedStep) -> bool:
    reported = exists().where(PerformedReferenceRecord.worklist_step_id == step.row_id)
    return bool(session.scalar(select(reported)))
