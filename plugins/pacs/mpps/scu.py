"""Sending to another system by DICOM's N services: an association, one request, its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association

from pacs.associations import associate
from pacs.errors import PeerError
from pacs.ports import Json

_CONNECTION_SECONDS = 5.0
_ANSWER_SECONDS = 30.0
_WARNINGS = frozenset({0x0001, 0x0107, 0x0116})

type Request = Callable[[Association], tuple[Dataset, Dataset | None]]


class Refused(PeerError):
    """The other system answered, with a failure: asking again would get the same."""

    code = "peer-refused"

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.dimse_status = status


def ask(station: Json, calling_ae_title: str, sop_class: UID, request: Request) -> int:
    """Make one request and return the status of the answer, a success or a warning.

    Parameters
    ----------
    station : as Orthanc has it: AET, Host, Port.

    Raises
    ------
    PeerError : no association, or no answer: it may work later.
    Refused : the answer was a failure.
    """
    with _associated(station, calling_ae_title, sop_class) as association:
        status, _ = request(association)
    code = status.get("Status")
    if code is None:
        raise PeerError(f"{station['AET']} did not answer.")
    if code not in _WARNINGS | {0x0000}:
        comment = str(status.get("ErrorComment") or "")
        raise Refused(int(code), f"{station['AET']} answered with status {int(code):04X}. {comment}".strip())
    return int(code)


@contextmanager
def _associated(station: Json, calling_ae_title: str, sop_class: UID) -> Iterator[Association]:
    entity = AE(ae_title=calling_ae_title)
    entity.connection_timeout = _CONNECTION_SECONDS
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _ANSWER_SECONDS
    entity.add_requested_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    association = associate(entity, station["Host"], station["Port"], ae_title=station["AET"])
    if not association.is_established:
        why = "refused the association" if association.is_rejected else "did not answer"
        raise PeerError(f"{station['AET']} at {station['Host']}:{station['Port']} {why}.")
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
