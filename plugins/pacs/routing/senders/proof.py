"""Asking a target what it has, instance by instance: C-FIND, QIDO-RS, an Orthanc's REST API, a folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from pacs.associations import associate
from pacs.routing.senders import places
from pacs.routing.senders.encryption import context_of
from pacs.routing.senders.faults import FaultKind, SendingFault
from pacs.routing.senders.web import WebTarget

_PAGE = 1000
_PENDING = frozenset({0xFF00, 0xFF01})


@dataclass(frozen=True, slots=True)
class Wanted:
    """An instance that a target should have, by what it is there."""

    study: str
    series: str
    sop_instance: str


def found_at(target: Mapping[str, Any], wanted: Sequence[Wanted]) -> set[str]:
    """Return the SOP Instance UIDs that a target says it has, of the series that `wanted` are in.

    Raises
    ------
    SendingFault : it can't be asked, or gave no answer.
    """
    by_series: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in wanted:
        by_series[one.study, one.series].add(one.sop_instance)
    return _ASKING[target["kind"]](target, by_series)


type _BySeries = Mapping[tuple[str, str], set[str]]


def _by_c_find(target: Mapping[str, Any], series: _BySeries) -> set[str]:
    found: set[str] = set()
    with associated(target, StudyRootQueryRetrieveInformationModelFind) as association:
        for study_uid, series_uid in series:
            keys = Dataset()
            keys.QueryRetrieveLevel = "IMAGE"
            keys.StudyInstanceUID, keys.SeriesInstanceUID, keys.SOPInstanceUID = study_uid, series_uid, ""
            for answer in answers(association, keys, target["aet"]):
                found.add(str(answer.get("SOPInstanceUID", "")))
    return found


def answers(association: Association, keys: Dataset, who: str) -> Iterator[Dataset]:
    """Search by C-FIND and yield what is found (DICOM PS3.4 section C.4.1).

    Raises
    ------
    SendingFault : the search did not end with success: what was found may not be all.
    """
    last: int | None = None
    for status, identifier in association.send_c_find(keys, StudyRootQueryRetrieveInformationModelFind):
        last = status.get("Status")
        if last in _PENDING and identifier is not None:
            yield identifier
    if last != 0:
        words = "it ended without an answer" if last is None else f"status {last:04X}"
        raise SendingFault(FaultKind.BUSY, f"{who} could not be asked what it has: {words}.", remedy=_PROOF_REMEDY)


_PROOF_REMEDY = "It must let this server search (C-FIND) at the level IMAGE; else say proof: none."


@contextmanager
def associated(target: Mapping[str, Any], *sop_classes: UID) -> Iterator[Association]:
    """Hold an association with a DICOM target.

    Raises
    ------
    SendingFault : there is nobody, it refuses, or it takes none of `sop_classes`.
    """
    entity = AE(ae_title=target["calling"])
    entity.connection_timeout = 10.0
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = target["answer_seconds"]
    for sop_class in sop_classes:
        entity.add_requested_context(sop_class)
    tls = (context_of(target["tls"]), target["host"]) if target.get("tls") else None
    accepted: list[evt.Event] = []
    handlers = [(evt.EVT_ACCEPTED, accepted.append)]
    association = associate(
        entity, target["host"], target["port"], ae_title=target["aet"], evt_handlers=handlers, tls_args=tls
    )
    if not association.is_established:
        raise _not_established(target, association, was_accepted=bool(accepted))
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _not_established(target: Mapping[str, Any], association: Association, *, was_accepted: bool) -> SendingFault:
    """Return why there is no association: it is there and takes nothing of the kind, or not there for us."""
    where = f"{target['aet']} at {target['host']}:{target['port']}"
    if was_accepted:
        return SendingFault(FaultKind.BUSY, f"{where} takes no such requests.", remedy=_PROOF_REMEDY)
    if association.is_rejected:
        return SendingFault(FaultKind.AWAY, f"{where} rejected the association.", remedy=_PROOF_REMEDY)
    return SendingFault(
        FaultKind.AWAY,
        f"{where} did not answer.",
        remedy="Check that it runs, its address and port, and the firewalls between.",
    )


def echo(target: Mapping[str, Any]) -> None:
    """Send a C-ECHO (DICOM PS3.4 annex A). Raises SendingFault."""
    with associated(target, Verification) as association:
        if association.send_c_echo().get("Status") != 0:
            raise SendingFault(FaultKind.BUSY, f"{target['aet']} did not answer the C-ECHO.")


def _by_qido(target: Mapping[str, Any], series: _BySeries) -> set[str]:
    found: set[str] = set()
    with WebTarget(target) as web:
        for (study_uid, series_uid), wanted in series.items():
            path = f"/studies/{quote(study_uid, safe='')}/series/{quote(series_uid, safe='')}/instances"
            received = 0
            # It may give fewer at once than it is asked for (PS3.18 section 8.3.4.4).
            while not wanted <= found:
                response = web.ask(
                    "GET",
                    f"{path}?limit={_PAGE}&offset={received}",
                    takes=lambda status: status == 404,  # noqa: PLR2004
                    headers={"Accept": "application/dicom+json"},
                )
                entries = response.json() if response.status_code == 200 else []  # noqa: PLR2004
                uids = {str(entry["00080018"]["Value"][0]) for entry in entries if "00080018" in entry}
                if not uids - found:
                    break
                found |= uids
                received += len(entries)
    return found


def _by_rest(target: Mapping[str, Any], series: _BySeries) -> set[str]:
    found: set[str] = set()
    with WebTarget(target) as web:
        for study_uid, series_uid in series:
            for one in web.ask("POST", "/tools/lookup", content=series_uid).json():
                if one["Type"] != "Series":
                    continue
                study = web.ask("GET", f"/series/{one['ID']}/study").json()
                if study["MainDicomTags"].get("StudyInstanceUID") == study_uid:
                    entries = web.ask("GET", f"/series/{one['ID']}/instances?expand").json()
                    found |= {str(entry["MainDicomTags"].get("SOPInstanceUID")) for entry in entries}
    return found


def _in_folder(target: Mapping[str, Any], series: _BySeries) -> set[str]:
    found: set[str] = set()
    with places.opened(target) as place:
        for (study_uid, series_uid), uids in series.items():
            if not (places.is_name(study_uid) and places.is_name(series_uid)):
                continue
            sizes = place.sizes(places.path_of(study_uid, series_uid, "").parent)
            # Named only after it was whole.
            found |= {uid for uid in uids if sizes.get(f"{uid}.dcm", 0) > 0}
    return found


_ASKING = {
    "dicom": _by_c_find,
    "stow": _by_qido,
    "peer": _by_rest,
    "folder": _in_folder,
    "sftp": _in_folder,
}
