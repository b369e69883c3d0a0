"""The MPPS service: takes reports of modalities by DICOM (PS3.4 F), each durable before it is answered."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepRetrieve,
    Verification,
)

from pacs.errors import PacsError
from pacs.mpps.checks import require_uid
from pacs.mpps.faults import MppsFault, Status, answer
from pacs.mpps.reports import Report, ReportKind, written
from pacs.mpps.settings import MppsSettings
from pacs.mpps.stations import Stations
from pacs.mpps.steps import PerformedSteps

_log = logging.getLogger(__name__)

_NEGOTIATION_SECONDS = 10.0
_LOOK_SECONDS = 0.25
# A report with thousands of images has about a megabyte.
_LARGEST_REPORT_BYTES = 16 * 2**20
_LARGEST_PDU_BYTES = 2**20

type Answer = tuple[Dataset, Dataset | None]


class MppsServer:
    """Listens for modalities.

    Anyone may associate and is answered a C-ECHO, as Orthanc does; reports are taken of registered stations alone.
    """

    def __init__(self, settings: MppsSettings, steps: PerformedSteps, stations: Stations) -> None:
        self._settings = settings
        self._steps = steps
        self._stations = stations

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set. A supervised thread; associations have threads of their own, which end with it.

        Raises
        ------
        OSError : the port can't be listened on.
        """
        entity = self._entity()
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, _guard_connection),
            (evt.EVT_PDU_RECV, _limit_report),
            (evt.EVT_C_ECHO, lambda _event: int(Status.SUCCESS)),
            (evt.EVT_N_CREATE, self._on_create),
            (evt.EVT_N_SET, self._on_set),
            (evt.EVT_N_GET, self._on_get),
        ]
        entity.start_server((self._settings.bind, self._settings.port), block=False, evt_handlers=handlers)
        _log.info("MPPS: %s listens on port %d", self._settings.ae_title, self._settings.port)
        try:
            while not stop.wait(_LOOK_SECONDS):
                pass
        finally:
            _end(entity)

    def _entity(self) -> AE:
        settings = self._settings
        entity = AE(ae_title=settings.ae_title)
        entity.require_called_aet = True
        entity.maximum_associations = settings.most_associations
        entity.acse_timeout = _NEGOTIATION_SECONDS
        entity.dimse_timeout = entity.network_timeout = settings.idle_seconds
        for sop_class in (Verification, ModalityPerformedProcedureStep, ModalityPerformedProcedureStepRetrieve):
            entity.add_supported_context(sop_class)
        return entity

    # -- the services ----------------------------------------------------------------------------------------------

    def _on_create(self, event: evt.Event) -> Answer:
        def create() -> Answer:
            uid = require_uid(_asked_of(event).AffectedSOPInstanceUID)
            self._steps.create(_report(ReportKind.CREATE, uid, event, event.attribute_list))
            return answer(Status.SUCCESS), None

        return self._answered(event, create)

    def _on_set(self, event: evt.Event) -> Answer:
        def change() -> Answer:
            uid = require_uid(_asked_of(event).RequestedSOPInstanceUID)
            refused = self._steps.change(_report(ReportKind.SET, uid, event, event.modification_list))
            if refused:
                return answer(Status.ATTRIBUTE_LIST_ERROR, f"Not changed: {', '.join(refused)}"), None
            return answer(Status.SUCCESS), None

        return self._answered(event, change)

    def _on_get(self, event: evt.Event) -> Answer:
        def get() -> Answer:
            step = self._steps.get(require_uid(_asked_of(event).RequestedSOPInstanceUID))
            asked = set(event.attribute_identifiers)
            if asked:
                step = Dataset({tag: element for tag, element in step.items() if tag in asked})
            return answer(Status.SUCCESS), step

        return self._answered(event, get)

    def _answered(self, event: evt.Event, serve: Callable[[], Answer]) -> Answer:
        """Return the answer of `serve`; what goes wrong becomes its status. The top of an association's request."""
        calling = event.assoc.requestor.ae_title.strip()
        try:
            self._authorize(calling, event.assoc.requestor.address)
            return serve()
        except MppsFault as fault:
            _log.warning("a report of %s is refused (%04X): %s", calling, fault.dimse_status, fault)
            return fault.answer(), None
        except PacsError as error:
            _log.error("a report of %s could not be taken: %s", calling, error)
        except Exception:  # noqa: BLE001 (whoever asked gets an answer)
            _log.exception("a report of %s could not be taken", calling)
        return answer(Status.PROCESSING_FAILURE, "The server could not store it; try again."), None

    def _authorize(self, calling: str, address: str | None) -> None:
        if not self._stations.is_registered(calling, address or ""):
            raise MppsFault(
                Status.NOT_AUTHORIZED,
                f"{calling} at {address} is not registered here.",
                remedy="Register it on the page of AEs.",
            )


def _asked_of(event: evt.Event) -> Any:
    """Return the request, of the class that the service has."""
    return event.request


def _report(kind: ReportKind, sop_instance_uid: str, event: evt.Event, attributes: Dataset) -> Report:
    return Report(kind, sop_instance_uid, event.assoc.requestor.ae_title.strip(), written(attributes))


def _end(entity: AE) -> None:
    """Break off what is still open, then close the port: nothing that was not committed was answered."""
    for association in entity.active_associations:
        if association.is_established:
            association.abort(block=False)
        else:
            _hang_up(association.dul.socket)
    for server in list(entity._servers):  # noqa: SLF001 (AE.shutdown waits for every association, one after the other)
        server.shutdown()


def _hang_up(connection: Any) -> None:
    """Close the connection of a station that has not said who it is; its thread ends when it finds out."""
    plain: socket.socket | None = connection.socket if connection is not None else None
    if plain is not None:
        with contextlib.suppress(OSError):
            plain.shutdown(socket.SHUT_RDWR)


def _guard_connection(event: evt.Event) -> None:
    """Send answers at once; refuse packets of a size that no report has, and those that never become whole."""
    connection: Any = event.assoc.dul.socket
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.socket.settimeout(_NEGOTIATION_SECONDS)
    receive = connection.recv

    def receive_some(count: int) -> bytearray:
        if count > _LARGEST_PDU_BYTES:
            message = f"found a PDU of {count} bytes, the longest allowed has {_LARGEST_PDU_BYTES}"
            raise OSError(message)
        received: bytearray = receive(count)
        return received

    connection.recv = receive_some


def _limit_report(event: evt.Event) -> None:
    """End an association that sends more than any report has, before memory is full of it."""
    message = event.assoc.dimse.message
    collected = message.data_set.tell() if message is not None and message.data_set is not None else 0
    if collected > _LARGEST_REPORT_BYTES:
        _log.warning("%s sent a report of more than %d bytes", event.assoc.requestor.ae_title, _LARGEST_REPORT_BYTES)
        event.assoc.abort(block=False)
