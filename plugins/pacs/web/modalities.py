"""DICOM nodes that Orthanc knows (its "modalities"): reading, checking and writing them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pacs.ports import Archive
from pacs.web.language import N_

MANUFACTURERS = ("Generic", "GenericNoWildcardInDates", "GenericNoUniversalWildcard", "Vitrea", "GE")
RETRIEVE_METHODS = ("SystemDefault", "C-MOVE", "C-GET")
MOST_PORTS = 65535
LONGEST_AE_TITLE = 16
LONGEST_TIMEOUT_SECONDS = 3600
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})|[0-9A-Fa-f:]{2,45}")


class Permission(StrEnum):
    """What a node may do here, spelled as in Orthanc's configuration."""

    ECHO = "AllowEcho"
    STORE = "AllowStore"
    FIND = "AllowFind"
    FIND_WORKLIST = "AllowFindWorklist"
    MOVE = "AllowMove"
    GET = "AllowGet"
    N_ACTION = "AllowNAction"
    EVENT_REPORT = "AllowEventReport"


@dataclass(frozen=True)
class RemoteModality:
    """One DICOM node.

    Attributes
    ----------
    name : Orthanc's symbolic name, the key of the node.
    timeout_seconds : 0 for Orthanc's own default.
    local_ae_title : the title this PACS calls itself towards the node, empty for the usual one.
    """

    name: str
    ae_title: str
    host: str
    port: int
    manufacturer: str = "Generic"
    permissions: frozenset[Permission] = field(default=frozenset(Permission))
    timeout_seconds: int = 0
    allow_transcoding: bool = True
    use_dicom_tls: bool = False
    local_ae_title: str = ""
    retrieve_method: str = "SystemDefault"

    @classmethod
    def from_orthanc(cls, name: str, entry: Mapping[str, Any]) -> RemoteModality:
        """Read an entry of GET /modalities?expand."""
        return cls(
            name=name,
            ae_title=str(entry["AET"]),
            host=str(entry["Host"]),
            port=int(entry["Port"]),
            manufacturer=str(entry.get("Manufacturer", "Generic")),
            permissions=frozenset(one for one in Permission if entry.get(one.value, True)),
            timeout_seconds=int(entry.get("Timeout", 0)),
            allow_transcoding=bool(entry.get("AllowTranscoding", True)),
            use_dicom_tls=bool(entry.get("UseDicomTls", False)),
            local_ae_title=str(entry.get("LocalAet", "")),
            retrieve_method=str(entry.get("RetrieveMethod", "SystemDefault")),
        )

    def as_orthanc(self) -> dict[str, Any]:
        """Return the body of PUT /modalities/{name}."""
        return {
            "AET": self.ae_title,
            "Host": self.host,
            "Port": self.port,
            "Manufacturer": self.manufacturer,
            "Timeout": self.timeout_seconds,
            "AllowTranscoding": self.allow_transcoding,
            "UseDicomTls": self.use_dicom_tls,
            "LocalAet": self.local_ae_title,
            "RetrieveMethod": self.retrieve_method,
        } | {one.value: one in self.permissions for one in Permission}


def list_modalities(archive: Archive) -> list[RemoteModality]:
    """Return the nodes by name."""
    entries: dict[str, dict[str, Any]] = archive.get_json("/modalities?expand")
    return [RemoteModality.from_orthanc(name, entries[name]) for name in sorted(entries, key=str.casefold)]


def read_form(values: Mapping[str, str], permissions: list[str]) -> tuple[RemoteModality, dict[str, str]]:
    """Read what a person entered.

    Returns
    -------
    The node as entered, as far as it can be read, and the faults: field to English text (marked with N_).
    """
    entered = {key: value.strip() for key, value in values.items()}
    modality = RemoteModality(
        name=entered.get("name", ""),
        ae_title=entered.get("ae_title", ""),
        host=entered.get("host", ""),
        port=_number(entered.get("port", "")),
        manufacturer=entered.get("manufacturer", "Generic"),
        permissions=frozenset(one for one in Permission if one.value in permissions),
        timeout_seconds=_number(entered.get("timeout_seconds", "0")),
        allow_transcoding="allow_transcoding" in entered,
        use_dicom_tls="use_dicom_tls" in entered,
        local_ae_title=entered.get("local_ae_title", ""),
        retrieve_method=entered.get("retrieve_method", "SystemDefault"),
    )
    return modality, _faults_of(modality)


def _faults_of(modality: RemoteModality) -> dict[str, str]:
    faults = {}
    if not _NAME.fullmatch(modality.name):
        faults["name"] = N_("Letters without accents, digits, - and _, at most 64.")
    if not is_ae_title(modality.ae_title):
        faults["ae_title"] = N_("1 to 16 characters, without accents, backslash or control characters.")
    if modality.local_ae_title and not is_ae_title(modality.local_ae_title):
        faults["local_ae_title"] = N_("1 to 16 characters, without accents, backslash or control characters.")
    if not _HOST.fullmatch(modality.host):
        faults["host"] = N_("A host name or IP address, for example ct1.hospital.example or 192.168.10.21.")
    if not 1 <= modality.port <= MOST_PORTS:
        faults["port"] = N_("A number from 1 to 65535, usually 104 or 11112.")
    if not 0 <= modality.timeout_seconds <= LONGEST_TIMEOUT_SECONDS:
        faults["timeout_seconds"] = N_("Seconds from 0 (the usual time) to 3600.")
    if modality.manufacturer not in MANUFACTURERS:
        faults["manufacturer"] = N_("Choose one of the list.")
    if modality.retrieve_method not in RETRIEVE_METHODS:
        faults["retrieve_method"] = N_("Choose one of the list.")
    return faults


def is_ae_title(text: str) -> bool:
    """Tell whether a text is an AE title (VR AE, DICOM PS3.5 section 6.2), significant spaces only inside."""
    printable = all(" " <= character <= "~" for character in text)
    return 0 < len(text) <= LONGEST_AE_TITLE and printable and "\\" not in text and text == text.strip()


def _number(text: str) -> int:
    """Read a whole number of few digits; -1 for anything else, which no field takes."""
    return int(text) if re.fullmatch(r"[0-9]{1,5}", text) else -1
