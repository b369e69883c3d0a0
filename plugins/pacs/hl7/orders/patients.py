"""What ADT messages change in the worklist: patients' data, numbers that change, patients who have come."""

from __future__ import annotations

import logging
from datetime import date

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pacs.hl7.errors import DUPLICATE_KEY_IDENTIFIER, REQUIRED_FIELD_MISSING
from pacs.hl7.groups import PatientGroup
from pacs.hl7.message import Message
from pacs.hl7.orders.applying import Origin, Outcome
from pacs.hl7.orders.explanation import Unusable, UnusableMessage
from pacs.hl7.orders.identity import PatientNumber, PatientNumbers, read_prior_numbers
from pacs.hl7.orders.mapper import OrderMapper, PatientReading
from pacs.hl7.peers import Peer
from pacs.studies.models import StudyRecord
from pacs.studies.names import fold
from pacs.worklist.statuses import StepStatus
from pacs.worklist.steps import StepRow, StepSelector
from pacs.worklist.worklist import Worklist

_log = logging.getLogger(__name__)

# HL7 v2.5.1 chapter 3.3; IHE RAD-12 adds none.
MERGES = frozenset({"A18", "A34", "A40", "A47"})
UPDATES = frozenset(
    {*(f"A{number:02}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 28, 31, 38)), *MERGES}
)


class PatientChanges:
    """Does what one ADT message says.

    Parameters
    ----------
    origin : of the message, for the worklist.
    """

    def __init__(self, mapper: OrderMapper, worklist: Worklist, session: Session, origin: Origin) -> None:
        self._mapper = mapper
        self._worklist = worklist
        self._session = session
        self._origin = origin
        self.outcome = Outcome()

    def apply(self, message: Message, event: str, peer: Peer) -> None:
        """Do what the message says of each of its patients.

        Raises
        ------
        UnusableMessage : a patient has no number, or is to be merged with itself.
        """
        told = [self._read(message, group, event, peer) for group in message.patient_groups()]
        for reading, numbers, prior in told:
            self.outcome.notices += map(str, reading.explanation.notices)
            if prior:
                self._merge(reading, prior)
            self._update(reading, numbers)

    def arrive(self, message: Message, peer: Peer, today: date) -> None:
        """Note that the patients have come: what is scheduled for them today is ARRIVED."""
        for pid in message.all("PID"):
            reading = self._mapper.read_patient(message, pid, peer)
            for patient_id, issuer in reading.numbers.keys if reading.numbers else ():
                for row in self._scheduled(today, patient_id, issuer):
                    changes = self._worklist.set_status(
                        self._session, StepSelector(row_id=row.id), StepStatus.ARRIVED, **self._origin.told()
                    )
                    for change in changes:
                        self.outcome.tell(str(change.kind), change.step, "the patient has come")

    def _read(
        self, message: Message, group: PatientGroup, event: str, peer: Peer
    ) -> tuple[PatientReading, PatientNumbers, list[PatientNumber]]:
        reading = self._mapper.read_patient(message, group.pid, peer)
        faults = list(reading.explanation.faults)
        prior: list[PatientNumber] = []
        if event in MERGES:
            found = self._prior(group, peer)
            if isinstance(found, Unusable):
                faults.append(found)
            elif reading.numbers:
                prior = _given_up(found, reading.numbers)
                if not prior:
                    text = "a patient can't be merged with itself"
                    faults.append(Unusable(found[0].location, text, DUPLICATE_KEY_IDENTIFIER))
        if faults or reading.numbers is None:
            raise UnusableMessage(faults)
        return reading, reading.numbers, prior

    def _prior(self, group: PatientGroup, peer: Peer) -> list[PatientNumber] | Unusable:
        if group.mrg is None:
            return Unusable(f"MRG^{group.pid.number}^1", "there is no MRG segment", REQUIRED_FIELD_MISSING)
        return read_prior_numbers(group.mrg, self._mapper.library.mapping(peer.settings.mapping).identity)

    def _merge(self, reading: PatientReading, prior: list[PatientNumber]) -> None:
        keys = [number.key for number in prior]
        changes = self._worklist.merge_patients(self._session, keys, reading.dataset, **self._origin.told())
        for change in changes:
            self.outcome.tell("patient changed", change.step)
        if count := sum(self._studies_of(key) for key in keys):
            # Which study is whose is for a person to say: nothing in the archive is renamed by a message.
            self.outcome.notices.append(
                f"{prior[0].location}: {count} studies in the archive keep the prior number; correct them by hand"
            )
            _log.warning("HL7 message %d merges patients; %d studies keep the number", self._origin.journal_id, count)

    def _studies_of(self, key: tuple[str, str]) -> int:
        patient_id, issuer = key
        statement = select(func.count()).where(
            StudyRecord.patient_id_key == fold(patient_id),
            StudyRecord.patient_id == patient_id,
            StudyRecord.issuer_of_patient_id.in_(("", issuer)),
        )
        return self._session.scalar(statement) or 0

    def _update(self, reading: PatientReading, numbers: PatientNumbers) -> None:
        changes = self._worklist.update_patient(self._session, numbers.keys, reading.dataset, **self._origin.told())
        for change in changes:
            self.outcome.tell("patient updated", change.step)

    def _scheduled(self, today: date, patient_id: str, issuer: str) -> list[StepRow]:
        rows = self._worklist.select(self._session, StepSelector(patient=(patient_id, issuer)))
        day = f"{today.year:04}{today:%m%d}"
        return [row for row in rows if row.status is StepStatus.SCHEDULED and row.start_key.startswith(day)]


def _given_up(prior: list[PatientNumber], surviving: PatientNumbers) -> list[PatientNumber]:
    """Return the prior numbers that the surviving patient does not have as well; others only with their issuer."""
    first, *others = prior
    kept = {number.key for number in (surviving.primary, *surviving.others)}
    return [number for number in (first, *(each for each in others if each.issuer)) if number.key not in kept]
