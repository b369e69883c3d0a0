"""What the rules order of the delivery: one study, or one series of it, to one target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ROUTINE = 0
URGENT = 10
STAT = 20


@dataclass(frozen=True, slots=True)
class Transfer:
    """How the pixels travel.

    Parameters
    ----------
    syntax
        UID of the transfer syntax in which the target gets the images; None as they are stored.
    quality
        For lossy syntaxes, 1 (small) to 100 (fine); None for lossless ones.
    """

    syntax: str | None = None
    quality: int | None = None


@dataclass(frozen=True, slots=True)
class DeliveryOrder:
    """One study that must get to one target.

    Parameters
    ----------
    orthanc_study_id, study_instance_uid
        The study in this archive and in DICOM.
    orthanc_series_id
        Only this series is sent; None for all of the study.
    target
        Name of the target in targets.yaml.
    rule
        Name of the rule that asks for it; a person's name stands in `reason`.
    urgency
        `ROUTINE`, `URGENT` or `STAT`: higher goes first.
    reason
        What the ledger tells of why.
    alternatives
        Targets that take over, in this order, while the ones before are down.
    transfer
        How the pixels travel.
    deidentify
        Project of deidentify.yaml; None sends who it is.
    changes
        DICOM keywords and the values that copies at the target have instead.
    again
        Whether what was proven is sent once more.
    """

    orthanc_study_id: str
    study_instance_uid: str
    target: str
    rule: str
    orthanc_series_id: str | None = None
    urgency: int = ROUTINE
    reason: str = ""
    alternatives: tuple[str, ...] = ()
    transfer: Transfer = field(default_factory=Transfer)
    deidentify: str | None = None
    changes: Mapping[str, str] = field(default_factory=dict)
    again: bool = False
