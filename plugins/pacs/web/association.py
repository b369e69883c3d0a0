"""Why a DICOM association failed, told from the words that Orthanc and DCMTK use, or seen by knocking at the port."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass
from enum import StrEnum

from pacs.errors import ArchiveError
from pacs.ports import Archive
from pacs.web.modalities import RemoteModality

_KNOCK_SECONDS = 3.0


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
    """Have Orthanc send a C-ECHO (DICOM PS3.4 Annex A) and tell how it went."""
    start = time.monotonic()
    try:
        archive.post_json(f"/modalities/{modality.name}/echo", {"Timeout": timeout_seconds, "CheckFind": False})
    except ArchiveError as error:
        seconds = time.monotonic() - start
        fault = classify(str(error))
        return EchoOutcome(modality, knock(modality) if fault is AssociationFault.OTHER else fault, seconds, str(error))
    return EchoOutcome(modality, None, time.monotonic() - start)


def knock(modality: RemoteModality) -> AssociationFault:
    """Open a TCP connection and tell what hinders it; OTHER when the port answers and the fault lies further up."""
    try:
        socket.create_connection((modality.host, modality.port), timeout=_KNOCK_SECONDS).close()
    except socket.gaierror:
        return AssociationFault.UNKNOWN_HOST
    except ConnectionRefusedError:
        return AssociationFault.REFUSED
    except TimeoutError:
        return AssociationFault.NO_ANSWER
    except OSError:
        return AssociationFault.UNREACHABLE
    return AssociationFault.OTHER
