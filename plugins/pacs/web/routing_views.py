"""What the routing pages show beside the ledger's rows: the studies, and reports that came back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.hl7.models import Hl7Message
from pacs.hl7.states import Direction
from pacs.routing.delivery.models import DeliveryRecord
from pacs.routing.delivery.states import DeliveryState
from pacs.studies import StudyRow, find_studies
from pacs.web.language import N_

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

STATE_TITLES = {
    "waiting": N_("Waiting"),
    "sending": N_("Being sent"),
    "checking": N_("Sent, being checked"),
    "proven": N_("Confirmed"),
    "sent": N_("Sent, can't be confirmed"),
    "failed": N_("Dead letter"),
    "skipped": N_("Set aside"),
    "diverted": N_("Went elsewhere"),
    "cut": N_("Came from there"),
}
# As a person asks for them.
CHOICES: dict[str, tuple[DeliveryState, ...]] = {
    "": (),
    "failed": (DeliveryState.FAILED,),
    "open": (DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.CHECKING),
    "done": (DeliveryState.PROVEN, DeliveryState.SENT),
    "aside": (DeliveryState.SKIPPED, DeliveryState.DIVERTED, DeliveryState.CUT),
}
CHOICE_TITLES = {
    "": N_("All"),
    "failed": N_("Dead letters"),
    "open": N_("Under way"),
    "done": N_("Done"),
    "aside": N_("Set aside"),
}
# HL7 messages that bring a report: RAD-28 and its kin.
_REPORTS = ("ORU", "MDM")
_MOST_REPORTS = 5000
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class LedgerForm:
    """What a person asks the ledger for. `before`: continues the list with older ones."""

    state: str = ""
    target: str = ""
    before: int | None = None

    @classmethod
    def read(cls, values: MultiDict[str, str]) -> LedgerForm:
        """Read a query string; what can't be understood counts as not entered."""
        state, before = values.get("state", ""), values.get("before", "")
        is_number = before.isascii() and before.isdigit() and len(before) < len("1" * 18)
        return cls(state if state in CHOICES else "", values.get("target", "")[:64], int(before) if is_number else None)

    @property
    def states(self) -> tuple[DeliveryState, ...] | None:
        """The states that are meant, None for any."""
        return CHOICES[self.state] or None


@dataclass(frozen=True)
class Line:
    """A delivery with its study.

    Attributes
    ----------
    study : None when it is not in the archive any more.
    reported_at : when a report of it came back; None for none.
    """

    delivery: DeliveryRecord
    study: StudyRow | None
    reported_at: datetime | None = None

    @property
    def age_seconds(self) -> float:
        """From the order to the proof, or to now."""
        row = self.delivery
        return max(0.0, ((row.proven_at or row.sent_at or datetime.now(UTC)) - row.ordered_at) / _SECOND)


def lines(database: Database, deliveries: Sequence[DeliveryRecord], *, with_reports: bool = False) -> list[Line]:
    """Return deliveries with their studies, and with reports where these are wanted."""
    with database.session() as session:
        found = find_studies(session, {row.orthanc_study_id for row in deliveries})
        studies = {row.orthanc_study_id: found.get(row.orthanc_study_id) for row in deliveries}
        reports = _reports(session, studies.values(), deliveries) if with_reports else {}
    return [Line(row, studies[row.orthanc_study_id], _report_of(row, studies, reports)) for row in deliveries]


def _reports(
    session: Session, studies: Iterable[StudyRow | None], deliveries: Sequence[DeliveryRecord]
) -> dict[str, list[datetime]]:
    """Return when reports came, by accession number, since the oldest of the deliveries."""
    wanted = {study.accession_number for study in studies if study is not None} - {""}
    if not wanted:
        return {}
    since = min(row.ordered_at for row in deliveries)
    found = session.execute(
        select(Hl7Message.accession_numbers, Hl7Message.received_at)
        .where(Hl7Message.direction == Direction.IN.value, Hl7Message.message_type.in_(_REPORTS))
        .where(Hl7Message.received_at >= since, Hl7Message.accession_numbers.in_(sorted(wanted)))
        .order_by(Hl7Message.id.desc())
        .limit(_MOST_REPORTS)
    )
    reports: dict[str, list[datetime]] = {}
    for number, at in found:
        reports.setdefault(number, []).append(at)
    return reports


def _report_of(
    row: DeliveryRecord, studies: dict[str, StudyRow | None], reports: dict[str, list[datetime]]
) -> datetime | None:
    """Return when the first report came after the study was sent."""
    study = studies[row.orthanc_study_id]
    if study is None or row.sent_at is None:
        return None
    sent_at = row.sent_at
    return min((at for at in reports.get(study.accession_number, []) if at >= sent_at), default=None)
