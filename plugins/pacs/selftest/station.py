"""The station that the self-test plays: it asks the archive by DICOM, and takes what it is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import ThreadedAssociationServer

from pacs.associations import associate
from pacs.errors import PeerError

AET = "PACSSELFTEST"
_SECONDS = 30
_LOOPBACK = "127.0.0.1"


@dataclass
class Station:
    """A station on this machine.

    Attributes
    ----------
    received : the images that it was sent, by SOP Instance UID.
    """

    server: ThreadedAssociationServer
    received: dict[str, Dataset] = field(default_factory=dict)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.server_address[1])


@contextmanager
def listening(sop_class: UID) -> Iterator[Station]:
    """Have a station take images of `sop_class` while the block runs."""
    entity = AE(ae_title=AET)
    entity.add_supported_context(sop_class, [JPEG2000Lossless, ExplicitVRLittleEndian])
    received: dict[str, Dataset] = {}

    def take(event: evt.Event) -> int:
        dataset: Any = event.dataset
        dataset.file_meta = event.file_meta
        received[dataset.SOPInstanceUID] = dataset
        return 0

    handlers: list[Any] = [(evt.EVT_C_STORE, take)]
    server: Any = entity.start_server((_LOOPBACK, 0), block=False, evt_handlers=handlers)
    try:
        yield Station(server, received)
    finally:
        server.shutdown()


@contextmanager
def associated(port: int, called: str, contexts: Sequence[PresentationContext]) -> Iterator[Association]:
    """Associate with the archive while the block runs. Raise PeerError when it does not accept."""
    entity = AE(ae_title=AET)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _SECONDS
    association = associate(entity, _LOOPBACK, port, ae_title=called, contexts=list(contexts))
    if not association.is_established:
        raise PeerError(f"{called} at port {port} does not accept an association of {AET}.")
    try:
        yield association
    finally:
        association.release()


def contexts_of(*sop_classes: UID, syntax: UID | None = None) -> list[PresentationContext]:
    """Return presentation contexts, in one transfer syntax where one is given."""
    return [build_context(sop_class, syntax) for sop_class in sop_classes]


def require_success(what: str, status: Dataset | None) -> None:
    """Raise PeerError unless the status is Success."""
    code = status.get("Status") if status is not None else None
    if code != 0:
        found = (
            "no answer" if code is None else f"status 0x{code:04X} {status.get('ErrorComment', '') if status else ''}"
        )
        raise PeerError(f"{what}: {found.strip()}.")
