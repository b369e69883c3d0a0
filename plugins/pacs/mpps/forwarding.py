"""Reports handed on to other systems that want them (a RIS, a dose registry): every one, in order, until taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydicom.uid import UID
from pynetdicom.sop_class import ModalityPerformedProcedureStep  # type: ignore[attr-defined]
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.monitoring.identity import AE_TITLE
from pacs.mpps.faults import Status
from pacs.mpps.reports import Report, ReportKind, read
from pacs.mpps.scu import Refused, Request, ask
from pacs.mpps.stations import find_station
from pacs.ports import Archive
from pacs.work import Claim, NewItem, Reject, RetryPolicy, WorkQueue

QUEUE_NAME = "mpps-forward"
_SOP_CLASS = UID(ModalityPerformedProcedureStep)
# What a first try did that never got its answer: the other system has it.
_ALREADY_THERE = {
    ReportKind.CREATE: Status.DUPLICATE_INSTANCE,
}


def open_queue(database: Database, retry_days: float) -> WorkQueue:
    """Return the queue of reports on their way to others."""
    policy = RetryPolicy(max_attempts=None, max_age_seconds=retry_days * 24 * 3600)
    # The end of a step means nothing to who refused its beginning, until a person has decided on that.
    return WorkQueue(database, QUEUE_NAME, policy=policy, dead_letter_blocks_key=True)


def forwarder(queue: WorkQueue, destinations: Sequence[str]) -> Callable[[Session, Report], None]:
    """Return a listener that queues each report once for each destination; the golden signal's stay here."""

    def put(session: Session, report: Report) -> None:
        if report.calling_ae_title == AE_TITLE:
            return
        items = [_item(report, destination) for destination in destinations]
        queue.put_many(items, session=session)

    return put


def handler(archive: Archive, ae_title: str) -> Callable[[Claim], Mapping[str, Any]]:
    """Return what works the queue: sends one report to one destination, as coming from `ae_title`."""

    def work(claim: Claim) -> Mapping[str, Any]:
        """Send one report to one destination. Raise Reject when it refuses."""
        payload, body = claim.item.payload, claim.item.body or b""
        kind = ReportKind(payload["kind"])
        station = find_station(archive, payload["destination"])
        try:
            status = ask(station, ae_title, _SOP_CLASS, _request(kind, payload["sop_instance_uid"], body))
        except Refused as refusal:
            if claim.item.attempts > 1 and refusal.dimse_status == _ALREADY_THERE.get(kind):
                return {"status": refusal.dimse_status}
            raise Reject(str(refusal)) from refusal
        return {"status": status}

    return work


def _item(report: Report, destination: str) -> NewItem:
    return NewItem(
        payload={"kind": report.kind, "sop_instance_uid": report.sop_instance_uid, "destination": destination},
        body=report.original,
        # The N-CREATE before the N-SET, else they could not be understood.
        key=f"{destination} {report.sop_instance_uid}",
    )


def _request(kind: ReportKind, sop_instance_uid: str, body: bytes) -> Request:
    attributes = read(body)
    if kind is ReportKind.CREATE:
        return lambda association: association.send_n_create(attributes, _SOP_CLASS, UID(sop_instance_uid))
    return lambda association: association.send_n_set(attributes, _SOP_CLASS, UID(sop_instance_uid))
