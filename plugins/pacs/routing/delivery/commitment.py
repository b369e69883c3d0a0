"""Storage commitment (DICOM PS3.4 annex J, IHE RAD-10), by Orthanc: its port takes the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pacs.errors import ArchiveError, NotFound
from pacs.ports import Archive, Json
from pacs.routing.senders.faults import FaultKind, SendingFault

_MODALITY_PREFIX = "routing-"
# A station that Orthanc knows for our sake alone may report to it, and nothing else.
_RIGHTS = {
    "AllowEcho": False,
    "AllowFind": False,
    "AllowFindWorklist": False,
    "AllowGet": False,
    "AllowMove": False,
    "AllowStore": False,
    "AllowNAction": False,
    "AllowEventReport": True,
}


@dataclass(frozen=True)
class Report:
    """What the target answered: whom it takes the responsibility for, and for whom not."""

    committed: frozenset[str]
    failed: frozenset[str]
    words: str


class Commitment:
    """Asks targets to commit, and tells what they answered."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def request(self, name: str, argument: Json, instances: Sequence[tuple[str, str]]) -> str:
        """Ask for the commitment to instances (SOP class, SOP instance at the target); return the transaction.

        Raises
        ------
        SendingFault : the target took no such request.
        """
        modality = argument.get("modality") or self._registered(name, argument)
        body = {
            "DicomInstances": [{"SOPClassUID": sop_class, "SOPInstanceUID": uid} for sop_class, uid in instances],
            "Timeout": int(argument["answer_seconds"]),
        }
        try:
            return str(self._archive.post_json(f"/modalities/{modality}/storage-commitment", body)["ID"])
        except ArchiveError as error:
            raise SendingFault(
                FaultKind.BUSY,
                f"{argument['aet']} takes no request for storage commitment: {error.message}",
                remedy="If it knows none, write proof: query, or none.",
            ) from error

    def report(self, transaction: str) -> Report | None:
        """Return what was answered; None while nothing was, or when Orthanc has forgotten the request."""
        try:
            told = self._archive.get_json(f"/storage-commitment/{transaction}")
        except NotFound:
            return None
        if told.get("Status") not in {"Success", "Failure"}:
            return None
        failures = told.get("Failures", [])
        words = {str(one.get("Description") or f"{int(one.get('FailureReason', 0)):04X}") for one in failures}
        return Report(
            frozenset(one["SOPInstanceUID"] for one in told.get("Success", [])),
            frozenset(one["SOPInstanceUID"] for one in failures),
            ", ".join(sorted(words)),
        )

    def _registered(self, name: str, argument: Json) -> str:
        """Have Orthanc know the target, so that it lets its report in; return the station's name."""
        modality = f"{_MODALITY_PREFIX}{name}"
        wanted = {"AET": argument["aet"], "Host": argument["host"], "Port": argument["port"], **_RIGHTS}
        if argument.get("tls"):
            wanted["UseDicomTls"] = True
        try:
            found = self._archive.get_json(f"/modalities/{modality}/configuration")
        except NotFound:
            found = {}
        if any(found.get(key) != value for key, value in wanted.items()):
            self._archive.put_json(f"/modalities/{modality}", wanted)
        return modality
