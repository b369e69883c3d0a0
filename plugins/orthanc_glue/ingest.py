"""The guards of `pacs.ingest` at the three ways into Orthanc: C-STORE, POST /instances, and all else (DICOMweb)."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

from orthanc_glue.callbacks import Callbacks
from pacs.errors import ArchiveError, PacsError, Problem
from pacs.ingest.pixel_guard import find_fault
from pacs.ingest.reception import Reception
from pacs.metrics import Metrics

_log = logging.getLogger(__name__)

# Status of C-STORE: Error, Cannot Understand (PS3.4 B.2.3).
CANNOT_UNDERSTAND = 0xC000
ACCEPTED = 0
INSTANCES = "/instances"


class IngestGuard:
    """Has every file looked at before Orthanc stores it."""

    def __init__(self, orthanc: ModuleType, metrics: Metrics) -> None:
        self._orthanc = orthanc
        self._metrics = metrics
        self._refused = metrics.counter("pacs_ingest_refused_total", "Files not let into the archive.", ("way",))
        self._reception = Reception(self._store)

    def register(self, callbacks: Callbacks) -> None:
        """Stand at the three ways in."""
        callbacks.filter_c_store(self._judge_c_store)
        callbacks.filter_received(self._judge_received)
        callbacks.route(INSTANCES, self._answer_instances)

    def _judge_c_store(self, instance: Any, **_: Any) -> int:
        return CANNOT_UNDERSTAND if self._is_refused("C-STORE", instance.GetInstanceData()) else ACCEPTED

    def _judge_received(self, data: bytes, origin: int) -> tuple[int, None]:
        action = self._orthanc.ReceivedInstanceAction
        if origin == self._orthanc.InstanceOrigin.PLUGIN and self._is_refused("DICOMweb", data):
            return action.DISCARD, None
        return action.KEEP_AS_IS, None

    def _is_refused(self, way: str, data: bytes) -> bool:
        fault = find_fault(data)
        if fault:
            self._refused.labels(way).inc()
            _log.warning("refused a file by %s: %s", way, fault)
        return fault is not None

    def _answer_instances(self, output: Any, _uri: str, **request: Any) -> None:
        """Answer /instances in Orthanc's stead: what is posted is looked at, all else is Orthanc's own answer."""
        if request["method"] == "GET":
            query = urlencode(request["get"], safe="%")
            answer = self._orthanc.RestApiGet(f"{INSTANCES}?{query}" if query else INSTANCES)
        elif request["method"] == "POST":
            try:
                answer = self._reception.receive(request["body"], request["headers"])
            except PacsError as error:
                self._refuse(output, error)
                return
        else:
            output.SendMethodNotAllowed("GET,POST")
            return
        output.AnswerBuffer(answer, "application/json")

    def _refuse(self, output: Any, error: PacsError) -> None:
        self._refused.labels("HTTP").inc()
        self._metrics.count_error(error)
        problem = Problem.of(error)
        output.SendHttpStatus(problem.status, json.dumps(problem.as_dict()))

    def _store(self, body: bytes) -> bytes:
        try:
            answer: bytes = self._orthanc.RestApiPost(INSTANCES, body)
        except self._orthanc.OrthancException as error:
            raise _named(self._orthanc, error) from error
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
