"""The modality worklist: scheduled procedure steps, what changes them, and what modalities are answered."""

from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import (
    ChangeKind,
    NewStep,
    PatientMismatch,
    StepChange,
    StepDetails,
    StepEvent,
    StepListener,
    StepRow,
    StepSelector,
    Version,
)
from pacs.worklist.worklist import Worklist

__all__ = [
    "ChangeKind",
    "NewStep",
    "PatientMismatch",
    "StepChange",
    "StepDetails",
    "StepEvent",
    "StepListener",
    "StepRow",
    "StepSelector",
    "StepStatus",
    "Version",
    "Worklist",
]
