"""`Trial`: one pass through the archive's functions, each a question with a known answer."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.uid import JPEG2000Lossless
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    ModalityWorklistInformationFind,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from pacs.archive_http import HttpArchive
from pacs.errors import ArchiveError, NotFound, PacsError, PeerError
from pacs.hl7.outbound.client import MllpClient
from pacs.selftest import fiction
from pacs.selftest.station import AET, Station, associated, contexts_of, listening, require_success

_MPPS_AET = "PACSMPPS"
_NO_SUCH_INSTANCE = 0x0112
_MOVE_SECONDS = 30.0
_PENDING = {0xFF00, 0xFF01}
type Test = Callable[[], str]


@dataclass(frozen=True)
class Where:
    """Where the archive answers on this machine.

    Attributes
    ----------
    pages : the Unix socket of the pages.
    """

    http_port: int
    dicom_port: int
    aet: str
    mpps_port: int
    hl7_port: int
    pages: Path


class Trial:
    """Tries the archive; at the end of the block nothing of it is left but lines in logs and journal."""

    def __init__(self, where: Where) -> None:
        self._where = where
        self._archive = HttpArchive(f"http://127.0.0.1:{where.http_port}", timeout_seconds=60)
        self._orthanc_id = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._archive.close()

    def tests(self) -> Iterator[tuple[str, Test]]:
        """Yield each function's name and its test, which returns the evidence or raises; they build on each other."""
        yield "Orthanc's REST API", self._rest
        yield "C-ECHO", self._echo
        with listening(self._image.SOPClassUID) as station:
            yield "Registering a station", lambda: self._register(station)
            yield "C-STORE, JPEG 2000", self._store
            yield "Preview, decoded in a child process", self._preview
            yield "C-FIND of the study", self._find
            yield "C-MOVE to a station", lambda: self._move(station)
            yield "DICOMweb: QIDO-RS and a frame of WADO-RS", self._dicom_web
            yield "Modality worklist", self._worklist
            yield "MPPS", self._mpps
            yield "Pages", self._pages
            yield "HL7 is received and answered", self._hl7
            yield "Removing what was sent", self._clean

    @cached_property
    def _image(self) -> Dataset:
        return fiction.image(secrets.token_hex(4))

    def _rest(self) -> str:
        system = self._archive.get_json("/system")
        index = system.get("DatabaseBackendPlugin") or "SQLite"
        return f"Orthanc {system['Version']}, index: {Path(index).stem.removeprefix('libOrthanc')}"

    def _echo(self) -> str:
        with associated(self._where.dicom_port, self._where.aet, contexts_of(Verification)) as association:
            require_success("C-ECHO", association.send_c_echo())
        return f"{self._where.aet} at port {self._where.dicom_port}"

    def _register(self, station: Station) -> str:
        self._archive.put_json(f"/modalities/{AET}", {"AET": AET, "Host": "127.0.0.1", "Port": station.port})
        return AET

    def _store(self) -> str:
        image = self._image
        contexts = contexts_of(image.SOPClassUID, syntax=JPEG2000Lossless)
        with associated(self._where.dicom_port, self._where.aet, contexts) as association:
            require_success("C-STORE", association.send_c_store(image))
        found = self._archive.post_bytes("/tools/lookup", image.SOPInstanceUID.encode())
        self._orthanc_id = next(entry["ID"] for entry in found if entry["Type"] == "Instance")
        return f"instance {self._orthanc_id[:8]}"

    def _preview(self) -> str:
        picture = Image.open(BytesIO(self._archive.get_bytes(f"/instances/{self._orthanc_id}/preview")))
        grays = len(np.unique(np.asarray(picture)))
        if picture.size != (fiction.ROWS, fiction.ROWS) or grays < fiction.ROWS // 2:
            raise ArchiveError(f"The preview is {picture.size} with {grays} grays, expected an image of 128 x 128.")
        return f"{picture.size[0]} x {picture.size[1]}, {grays} grays"

    def _find(self) -> str:
        query = self._study_query()
        contexts = contexts_of(StudyRootQueryRetrieveInformationModelFind)
        with associated(self._where.dicom_port, self._where.aet, contexts) as association:
            answers = list(association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind))
        require_success("C-FIND", answers[-1][0])
        if len(answers) != 2:  # noqa: PLR2004 - the study and the end
            raise PeerError(f"C-FIND found {len(answers) - 1} studies, expected the one that was sent.")
        return "1 study"

    def _move(self, station: Station) -> str:
        contexts = contexts_of(StudyRootQueryRetrieveInformationModelMove)
        with associated(self._where.dicom_port, self._where.aet, contexts) as association:
            moves = list(association.send_c_move(self._study_query(), AET, StudyRootQueryRetrieveInformationModelMove))
        require_success("C-MOVE", moves[-1][0])
        give_up_at = time.monotonic() + _MOVE_SECONDS
        while not station.received and time.monotonic() < give_up_at:
            time.sleep(0.05)
        received = station.received.get(self._image.SOPInstanceUID)
        if received is None or not np.array_equal(received.pixel_array, self._image.pixel_array):
            raise PeerError("What came by C-MOVE is not what was sent.")
        return f"the same pixels, {received.file_meta.TransferSyntaxUID.name}"

    def _dicom_web(self) -> str:
        study, series = self._image.StudyInstanceUID, self._image.SeriesInstanceUID
        found = self._archive.get_json(f"/dicom-web/studies?StudyInstanceUID={study}")
        if len(found) != 1:
            raise ArchiveError(f"QIDO-RS found {len(found)} studies, expected 1.")
        path = f"/dicom-web/studies/{study}/series/{series}/instances/{self._image.SOPInstanceUID}"
        body = self._archive.get_bytes(f"{path}/frames/1")
        return f"1 study, a frame of {len(body)} bytes"

    def _worklist(self) -> str:
        query = Dataset()
        query.PatientID = self._image.PatientID
        query.PatientName = ""
        query.ScheduledProcedureStepSequence = [Dataset()]
        contexts = contexts_of(ModalityWorklistInformationFind)
        with associated(self._where.dicom_port, self._where.aet, contexts) as association:
            answers = list(association.send_c_find(query, ModalityWorklistInformationFind))
        require_success("C-FIND of the worklist", answers[-1][0])
        return "no step for nobody"

    def _mpps(self) -> str:
        contexts = contexts_of(ModalityPerformedProcedureStep)
        with associated(self._where.mpps_port, _MPPS_AET, contexts) as association:
            change = Dataset()
            change.PerformedProcedureStepStatus = "DISCONTINUED"
            status, _ = association.send_n_set(change, ModalityPerformedProcedureStep, self._image.SOPInstanceUID)
        code = status.get("Status")
        if code != _NO_SUCH_INSTANCE:
            raise PeerError(f"MPPS answered {code!r}, expected 0x0112: there is no such step.")
        return "a step that was never begun is not changed"

    def _pages(self) -> str:
        transport = httpx.HTTPTransport(uds=str(self._where.pages))
        with httpx.Client(transport=transport, base_url="http://localhost", timeout=30) as client:
            answer = client.get("/pacs/health").raise_for_status()
        return f"/pacs/health: {answer.status_code}"

    def _hl7(self) -> str:
        control_id = f"SELFTEST{secrets.token_hex(4)}".upper()
        now = datetime.now(UTC).strftime("%Y%m%d%H%M%S+0000")
        # A kind of message that is not worked here: the answer is AR, and nothing comes of it.
        message = f"MSH|^~\\&|SELFTEST|PACS|PACS|PACS|{now}||NMQ^N01|{control_id}|P|2.5.1\r"
        with MllpClient("127.0.0.1", self._where.hl7_port, answer_seconds=30) as client:
            answer = client.ask(message.encode(), lambda: False).decode("ascii", "replace")
        acknowledged = next(
            (line.split("|") for line in answer.split("\r") if line.startswith("MSA|")), ["MSA", "", ""]
        )
        if acknowledged[1:3] != ["AR", control_id]:
            raise PeerError(f"Expected AR for {control_id}, found {'|'.join(acknowledged)}.")
        return "AR, for a kind of message that is not taken"

    def _clean(self) -> str:
        found = self._archive.post_bytes("/tools/lookup", self._image.PatientID.encode())
        for entry in found:
            self._archive.delete(f"/patients/{entry['ID']}")
        try:
            self._archive.delete(f"/modalities/{AET}")
        except NotFound as error:
            raise PacsError(str(error)) from error
        return f"{len(found)} patient"

    def _study_query(self) -> Dataset:
        query = Dataset()
        query.QueryRetrieveLevel = "STUDY"
        query.StudyInstanceUID = self._image.StudyInstanceUID
        return query
