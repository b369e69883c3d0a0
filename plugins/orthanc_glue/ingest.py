"""The guards of `pacs.ingest` at the three ways into Orthanc: C-STORE, POST /instances, and all else (DICOMweb).

Each file is judged once. What is posted is judged before Orthanc sees it; all else in the callback for received
instances, whose verdict on a C-STORE waits for the filter that Orthanc asks next in the same thread, because only that
one can answer the sender. (A threading.local would not keep it: Python may forget a thread of Orthanc between calls.)
"""

from __future__ import annotations

import json
import logging
import threading
from http import HTTPStatus
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

from orthanc_glue.callbacks import Callbacks
from pacs.errors import ArchiveError, PacsError, Problem
from pacs.ingest.pixel_guard import find_fault
from pacs.ingest.reception import Reception, RefusedFile
from pacs.metrics import Metrics

_log = logging.getLogger(__name__)

# Status of C-STORE: Error, Cannot Understand (PS3.4 B.2.3).
CANNOT_UNDERSTAND = 0xC000
ACCEPTED = 0
INSTANCES = "/instances"


class IngestGuard:
    """Has every file looked at before Orthanc reads and stores it."""

    def __init__(self, orthanc: ModuleType, metrics: Metrics) -> None:
        self._orthanc = orthanc
        self._metrics = metrics
        self._refused = metrics.counter("pacs_ingest_refused_total", "Files not let into the archive.", ("way",))
        self._reception = Reception(self._store)
        # By thread: what is wrong with the C-STORE being received, and who has something stored that was judged.
        self._faults: dict[int, str] = {}
        self._judged: set[int] = set()
        self._dicom_protocol = int(orthanc.InstanceOrigin.DICOM_PROTOCOL)

    def register(self, callbacks: Callbacks) -> None:
        """Stand at the three ways in."""
        callbacks.filter_received(self._judge)
        callbacks.filter_c_store(self._answer_c_store)
        callbacks.route(INSTANCES, self._answer_instances)

    def _judge(self, dicom: bytes | memoryview, origin: int) -> bool:
        thread = threading.get_ident()
        if thread in self._judged:
            return True
        is_c_store = origin == self._dicom_protocol
        fault = self._find_fault("C-STORE" if is_c_store else "DICOMweb", dicom)
        if fault and is_c_store:
            # What is discarded here, Orthanc tells the sender of a C-STORE to be stored: its filter can say no.
            self._faults[thread] = fault
        return is_c_store or fault is None

    def _answer_c_store(self, _instance: Any, **_: Any) -> int:
        return CANNOT_UNDERSTAND if self._faults.pop(threading.get_ident(), None) else ACCEPTED

    def _find_fault(self, way: str, dicom: bytes | memoryview) -> str | None:
        fault = find_fault(dicom)
        if fault:
            self._refused.labels(way).inc()
            _log.warning("refused a file by %s: %s", way, fault)
        return fault

    def _answer_instances(self, output: Any, _uri: str, **request: Any) -> None:
        """Answer /instances in Orthanc's stead: what is posted is looked at, all else is Orthanc's own answer."""
        if request["method"] == "GET":
            query = urlencode(request["get"], safe="%")
            answer = self._orthanc.RestApiGet(f"{INSTANCES}?{query}" if query else INSTANCES)
        elif request["method"] == "POST":
            try:
                answer = self._reception.receive(request["body"], request["headers"])
            except PacsError as error:
                self._metrics.count_error(error)
                problem = Problem.of(error)
                output.SendHttpStatus(problem.status, json.dumps(problem.as_dict()))
                return
        else:
            output.SendMethodNotAllowed("GET,POST")
            return
        output.AnswerBuffer(answer, "application/json")

    def _store(self, body: bytes) -> bytes:
        if fault := self._find_fault("HTTP", body):
            raise RefusedFile(f"This file is not stored: {fault}")
        thread = threading.get_ident()
        self._judged.add(thread)
        try:
            answer: bytes = self._orthanc.RestApiPost(INSTANCES, body)
        except self._orthanc.OrthancException as error:
            raise _named(self._orthanc, error) from error
        finally:
            self._judged.discard(thread)
        return answer


def _named(orthanc: ModuleType, error: Exception) -> PacsError:
    """Return Orthanc's refusal of a file with the status that it has over HTTP."""
    code, reason = error.args[0], error.args[-1]
    refusal = ArchiveError(f"Orthanc did not store this file: {reason}.")
    codes = orthanc.ErrorCode
    if code in {int(codes.BAD_FILE_FORMAT), int(codes.INEXISTENT_TAG), int(codes.PARAMETER_OUT_OF_RANGE)}:
        refusal.status = HTTPStatus.BAD_REQUEST
    elif code == int(codes.FULL_STORAGE):
        refusal.status = HTTPStatus.INSUFFICIENT_STORAGE
    else:
        refusal.status = HTTPStatus.INTERNAL_SERVER_ERROR
    return refusal
