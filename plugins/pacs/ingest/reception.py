"""What happens to a body that is posted to /instances: looked at, unpacked when it is a ZIP file, and handed on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus

from pacs.errors import InvalidInput, PacsError
from pacs.ingest.dicom_walk import with_preamble
from pacs.ingest.zip_guard import ZipLimits, ZipMember, gunzip, is_zip, unpack
from pacs.ports import Json

# Stores one DICOM file and returns Orthanc's answer in JSON; raises RefusedFile, or ArchiveError when Orthanc says no.
type Store = Callable[[bytes], bytes]


class RefusedFile(InvalidInput):
    """A DICOM file that would cost its reader its memory or its life, or that Orthanc can't read."""

    code = "refused-file"
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class Reception:
    """Stands where Orthanc takes uploads over HTTP. May be called in any thread.

    Parameters
    ----------
    store : hands one file to Orthanc.
    limits : for ZIP files; an upload compressed for the way may inflate to one member of a ZIP.
    """

    def __init__(self, store: Store, limits: ZipLimits | None = None) -> None:
        self._store = store
        self._limits = limits or ZipLimits()

    def receive(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Store what was posted and return the answer in JSON: Orthanc's own, or for a ZIP one entry a file.

        Raises
        ------
        RefusedFile : the file is not let in. TooLarge, InvalidInput : the ZIP is not. ArchiveError : Orthanc said no.
        """
        if headers.get("content-encoding") == "gzip":
            body = gunzip(body, self._limits.member_bytes)
        if is_zip(body):
            return json.dumps(list(self._outcomes(body))).encode()
        return self._store(with_preamble(body))

    def _outcomes(self, body: bytes) -> Iterator[dict[str, Json]]:
        for member in unpack(body, self._limits):
            yield {**self._outcome(member), "Name": member.name}

    def _outcome(self, member: ZipMember) -> dict[str, Json]:
        """Return what became of one file of a ZIP; a bad one does not keep the others out."""
        if member.content is None:
            return {"Status": "Refused", "Details": member.refusal}
        try:
            outcome: dict[str, Json] = json.loads(self._store(with_preamble(member.content)))
        except RefusedFile as refusal:
            return {"Status": "Refused", "Details": str(refusal)}
        except PacsError as failure:
            return {"Status": "Failure", "Details": str(failure)}
        return outcome
