"""What runs in the child: searching another archive for a patient's studies, and having it send them here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydicom import Dataset
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from pacs.ports import Json
from pacs.processes import Progress
from pacs.routing.senders.faults import FaultKind, SendingFault
from pacs.routing.senders.proof import answers, associated

_KEYS = ("PatientBirthDate", "StudyDate", "StudyTime", "ModalitiesInStudy", "StudyInstanceUID", "IssuerOfPatientID")
_MOST_STUDIES = 500
_PENDING = frozenset({0xFF00, 0xFF01})


def search(arguments: dict[str, Json], _progress: Progress) -> Json:
    """Search `target` for the studies of `patient_id`; with `with_body_parts`, look into their series too.

    Returns
    -------
    {"studies": [{keyword: value, "body_parts": [...]}]}, or the fault.
    """
    target = arguments["target"]
    try:
        with associated(target, StudyRootQueryRetrieveInformationModelFind) as association:
            keys = Dataset()
            keys.QueryRetrieveLevel, keys.PatientID = "STUDY", arguments["patient_id"]
            for keyword in _KEYS:
                setattr(keys, keyword, "")
            answered = (_plain(one) for one in answers(association, keys, target["aet"]))
            # Moving a study without a UID may move all that there are.
            found = [one for one in answered if one["StudyInstanceUID"].replace(".", "").isalnum()][:_MOST_STUDIES]
            if arguments["with_body_parts"]:
                for study in found:
                    study["body_parts"] = _body_parts(association, target, study["StudyInstanceUID"])
    except SendingFault as fault:
        return _told(fault)
    return {"studies": found}


def retrieve(arguments: dict[str, Json], progress: Progress) -> Json:
    """Have `target` send `studies` to `destination` (C-MOVE, DICOM PS3.4 section C.4.2). Return {} or the fault."""
    target, studies = arguments["target"], arguments["studies"]
    try:
        with associated(target, StudyRootQueryRetrieveInformationModelMove) as association:
            for number, study_uid in enumerate(studies):
                keys = Dataset()
                keys.QueryRetrieveLevel, keys.StudyInstanceUID = "STUDY", study_uid
                _move(association, keys, arguments["destination"], target["aet"])
                progress((number + 1) / len(studies), "retrieving")
    except SendingFault as fault:
        return _told(fault)
    return {}


def _move(association: Any, keys: Dataset, destination: str, who: str) -> None:
    last = Dataset()
    for status, _ in association.send_c_move(keys, destination, StudyRootQueryRetrieveInformationModelMove):
        if status.get("Status") not in _PENDING:
            last = status
    code = last.get("Status")
    if code != 0:
        words = "no answer" if code is None else f"status {code:04X} {last.get('ErrorComment', '')}".strip()
        raise SendingFault(
            FaultKind.BUSY,
            f"{who} did not send a prior: {words}.",
            remedy="It must know this server as a destination: AE title, address and port.",
        )


def _body_parts(association: Any, target: Mapping[str, Any], study_uid: str) -> list[str]:
    keys = Dataset()
    keys.QueryRetrieveLevel, keys.StudyInstanceUID = "SERIES", study_uid
    keys.SeriesInstanceUID = keys.BodyPartExamined = ""
    return sorted({str(one.get("BodyPartExamined") or "") for one in answers(association, keys, target["aet"])} - {""})


def _plain(answer: Dataset) -> dict[str, Json]:
    plain: dict[str, Json] = {keyword: str(answer.get(keyword) or "") for keyword in ("PatientID", *_KEYS)}
    modalities = answer.get("ModalitiesInStudy") or []
    plain["ModalitiesInStudy"] = [modalities] if isinstance(modalities, str) else list(map(str, modalities))
    plain["body_parts"] = []
    return plain


def _told(fault: SendingFault) -> dict[str, Json]:
    return {"fault": {"kind": fault.kind.value, "message": fault.message, "remedy": fault.remedy}}
