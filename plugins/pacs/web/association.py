"""Why a DICOM association failed: told from the words that Orthanc and DCMTK use, or found out from here."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass
from enum import StrEnum

from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from pacs.associations import associate
from pacs.errors import ArchiveError
from pacs.ports import Archive
from pacs.web.modalities import RemoteModality

KNOCK_SECONDS = 3.0


class AssociationFault(StrEnum):
    """The ways in which talking to a DICOM node fails, as far as a person would act differently on them."""

    UNKNOWN_HOST = "unknown-host"
    REFUSED = "connection-refused"
    UNREACHABLE = "unreachable"
    NO_ANSWER = "no-answer"
    CALLED_AE_REJECTED = "called-ae-rejected"
    CALLING_AE_REJECTED = "calling-ae-rejected"
    ASSOCIATION_REJECTED = "association-rejected"
    NO_COMMON_SYNTAX = "no-common-syntax"
    CLOSED = "connection-closed"
    OTHER = "other"


_PATTERNS: tuple[tuple[str, AssociationFault], ...] = (
    (r"unknown host|name or service not known|name resolution", AssociationFault.UNKNOWN_HOST),
    (r"connection refused", AssociationFault.REFUSED),
    (r"no route to host|network is unreachable|host is down", AssociationFault.UNREACHABLE),
    (r"called ae title not recogni[sz]ed", AssociationFault.CALLED_AE_REJECTED),
    (r"calling ae title not recogni[sz]ed", AssociationFault.CALLING_AE_REJECTED),
    (r"presentation context|no acceptable|transfer syntax|sop class not supported", AssociationFault.NO_COMMON_SYNTAX),
    (r"reject", AssociationFault.ASSOCIATION_REJECTED),
    (r"timeout|timed out|no data available", AssociationFault.NO_ANSWER),
    (r"abort|closed|reset by peer", AssociationFault.CLOSED),
)


# What Orthanc's words leave open.
_VAGUE = frozenset({AssociationFault.OTHER, AssociationFault.ASSOCIATION_REJECTED})
# Source and reason of an A-ASSOCIATE-RJ (DICOM PS3.8 table 9-21).
_REJECTIONS = {
    (1, 3): AssociationFault.CALLING_AE_REJECTED,
    (1, 7): AssociationFault.CALLED_AE_REJECTED,
}


@dataclass(frozen=True)
class EchoOutcome:
    """How a C-ECHO ended.

    Attributes
    ----------
    fault : None when the other side answered.
    detail : what Orthanc said, for whoever has to dig.
    """

    modality: RemoteModality
    fault: AssociationFault | None
    seconds: float
    detail: str = ""


def classify(words: str) -> AssociationFault:
    """Tell the fault from an error text of Orthanc or DCMTK."""
    for pattern, fault in _PATTERNS:
        if re.search(pattern, words, re.IGNORECASE):
            return fault
    return AssociationFault.OTHER


def echo(archive: Archive, modality: RemoteModality, timeout_seconds: int) -> EchoOutcome:
    """Have Orthanc send a C-ECHO (DICOM PS3.4 Annex A) and tell how it went.

    Within Orthanc's own process its words about a failure don't reach us; then the way is looked at from here.
    """
    start = time.monotonic()
    try:
        archive.post_json(f"/modalities/{modality.name}/echo", {"Timeout": timeout_seconds, "CheckFind": False})
    except ArchiveError as error:
        seconds = time.monotonic() - start
        fault = classify(str(error))
        if fault in _VAGUE:
            fault = examine(modality, modality.local_ae_title or archive.get_json("/system")["DicomAet"])
        return EchoOutcome(modality, fault, seconds, str(error))
    return EchoOutcome(modality, None, time.monotonic() - start)


def examine(modality: RemoteModality, own_ae_title: str) -> AssociationFault:
    """Tell what hinders an association, by opening a connection and then asking for one (DICOM PS3.8 section 9.3)."""
    fault = _knock(modality)
    if fault is AssociationFault.OTHER and not modality.use_dicom_tls:
        return _ask_for_association(modality, own_ae_title)
    return fault


def _knock(modality: RemoteModality) -> AssociationFault:
    """Open a TCP connection; OTHER when the port answers and the fault lies further up."""
    try:
        socket.create_connection((modality.host, modality.port), timeout=KNOCK_SECONDS).close()
    except socket.gaierror:
        return AssociationFault.UNKNOWN_HOST
    except ConnectionRefusedError:
        return AssociationFault.REFUSED
    except TimeoutError:
        return AssociationFault.NO_ANSWER
    except OSError:
        return AssociationFault.UNREACHABLE
    return AssociationFault.OTHER


def _ask_for_association(modality: RemoteModality, own_ae_title: str) -> AssociationFault:
    entity = AE(ae_title=own_ae_title)
    entity.add_requested_context(Verification)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = KNOCK_SECONDS
    start = time.monotonic()
    association = associate(entity, modality.host, modality.port, ae_title=modality.ae_title)
    if association.is_established:
        association.release()
        return AssociationFault.OTHER
    refusal = association.acceptor.primitive
    if association.is_rejected and refusal is not None:
        source, reason = refusal.result_source, refusal.diagnostic
        return _REJECTIONS.get((source or 0, reason or 0), AssociationFault.ASSOCIATION_REJECTED)
    waited = time.monotonic() - start >= KNOCK_SECONDS
    return AssociationFault.NO_ANSWER if waited else AssociationFault.CLOSED
