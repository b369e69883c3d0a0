"""`Prefetch`: does what a rule's `prefetch` asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.errors import NotFound
from pacs.ports import Archive, Json
from pacs.routing.delivery.lane import Lane
from pacs.routing.delivery.ledger import Ledger
from pacs.routing.delivery.models import DeliveryRecord
from pacs.routing.orders import URGENT, DeliveryOrder
from pacs.routing.prefetch.priors import Prior, Wish
from pacs.studies.dicom_values import day
from pacs.studies.models import StudyRecord
from pacs.studies.names import fold
from pacs.work import Reject, Retry
from pacs.worklist.encoding import decoded
from pacs.worklist.models import StepRecord

_CHILD = "pacs.routing.prefetch.child"
# C-FIND and C-MOVE; no other kind is asked for what it has of a patient.
_SEARCHABLE = "dicom"


@dataclass(frozen=True)
class _Found:
    """What the other archive has of what is wanted (Study Instance UIDs), and how many of it were brought here now."""

    wanted: Sequence[str] = ()
    retrieved: int = 0


class PrefetchOrder(Protocol):
    """What the rules' tasks tell of a prefetch."""

    @property
    def rule(self) -> str:
        """The rule that asks for it."""

    @property
    def orthanc_study_id(self) -> str:
        """The study whose priors are wanted."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """As written: modalities, body_parts, last, within_days, from, to."""


class Prefetch:
    """Brings priors here (`from`), to a target (`to`), or both. Bears being called twice.

    Parameters
    ----------
    lane : gives the lane of a target. Raises NotFound.
    """

    def __init__(self, database: Database, archive: Archive, ledger: Ledger, lane: Callable[[str], Lane]) -> None:
        self._database = database
        self._archive = archive
        self._ledger = ledger
        self._lane = lane

    def __call__(self, order: PrefetchOrder) -> Mapping[str, Any]:
        """Do what is ordered; return how many priors were retrieved and ordered to the target.

        Raises
        ------
        NotFound : the study is not in the index any more, or the appointment not in the worklist.
        Reject : it has no patient ID, so nothing is known to be of the same patient; or `from` can't be searched.
        SendingFault : the other archive can't be asked, or does not send.
        Retry : what came from there is to go on, and is not known here yet.
        """
        parameters = order.parameters
        own = self._own_of_step(parameters["step"]) if "step" in parameters else self._own(order.orthanc_study_id)
        wish = Wish.of(parameters)
        found = self._retrieved(own, wish, str(parameters["from"])) if parameters.get("from") else _Found()
        ordered = self._ordered(own, wish, order) if parameters.get("to") else 0
        if parameters.get("to") and (coming := self._not_indexed(found.wanted)):
            raise Retry(f"{coming} priors that were brought here are still on their way into the index.")
        return {"retrieved": found.retrieved, "ordered": ordered}

    # -- from another archive --------------------------------------------------------------------------------------

    def _retrieved(self, own: Prior, wish: Wish, source: str) -> _Found:
        lane = self._lane(source)
        target = lane.argument()
        if target["kind"] != _SEARCHABLE:
            raise Reject(
                f"{source} can't be searched for earlier studies: it is a target of kind {target['kind']}. Name one of "
                f"kind {_SEARCHABLE} under `prefetch: from:` in the rule."
            )
        asked = {"patient_id": own.patient_id, "with_body_parts": bool(wish.body_parts)}
        found = lane.children.ask(f"{_CHILD}:search", target, **asked)["studies"]
        here = self._here()
        wanted = wish.chosen(own, map(_remote, found))
        missing = [one.study_instance_uid for one in wanted if not here(one)]
        if missing:
            destination = self._archive.get_json("/system")["DicomAet"]
            lane.children.ask(f"{_CHILD}:retrieve", target, studies=missing, destination=destination)
        return _Found([one.study_instance_uid for one in wanted], len(missing))

    def _not_indexed(self, study_instance_uids: Sequence[str]) -> int:
        known = select(StudyRecord.study_instance_uid).where(StudyRecord.study_instance_uid.in_(study_instance_uids))
        with self._database.session() as session:
            return len(set(study_instance_uids) - set(session.scalars(known)))

    def _here(self) -> Callable[[Prior], bool]:
        def is_here(prior: Prior) -> bool:
            found = self._archive.post_bytes("/tools/lookup", prior.study_instance_uid.encode())
            return any(one["Type"] == "Study" for one in found)

        return is_here

    # -- to a target -----------------------------------------------------------------------------------------------

    def _ordered(self, own: Prior, wish: Wish, order: PrefetchOrder) -> int:
        with self._database.session(write=True) as session:
            same_id = select(StudyRecord).where(StudyRecord.patient_id_key == fold(own.patient_id))
            records = {_local(one): one for one in session.scalars(same_id)}
            target = str(order.parameters["to"])
            project = self._project(session, order.orthanc_study_id, target)
            orders = [
                DeliveryOrder(
                    orthanc_study_id=records[prior].orthanc_study_id,
                    study_instance_uid=prior.study_instance_uid,
                    target=target,
                    rule=order.rule,
                    urgency=URGENT,
                    reason="prior of a study that was routed",
                    deidentify=project,
                )
                for prior in wish.chosen(own, records)
            ]
            self._ledger.order(orders, session)
        return len(orders)

    def _project(self, session: Session, orthanc_study_id: str, target: str) -> str | None:
        """Return the project without whose pseudonyms the study itself does not go there: nor do its priors."""
        row = DeliveryRecord
        asked = select(row.deidentify).where(row.orthanc_study_id == orthanc_study_id, row.target == target)
        return session.scalars(asked).one_or_none()

    def _own_of_step(self, step_id: int) -> Prior:
        """Return the study that an appointment will bring."""
        with self._database.session() as session:
            step = session.get(StepRecord, step_id)
        if step is None:
            raise NotFound("The appointment for which priors are wanted is not in the worklist any more.")
        born = day(str(decoded(step.attributes).get("PatientBirthDate") or ""))
        return _of_known_patient(
            Prior(
                step.study_instance_uid,
                step.patient_id,
                step.issuer_of_patient_id,
                f"{born:%Y%m%d}" if born else "",
                step.start_key,
                frozenset(filter(None, (step.modality,))),
                frozenset(),
            )
        )

    def _own(self, orthanc_study_id: str) -> Prior:
        with self._database.session() as session:
            record = session.scalars(
                select(StudyRecord).where(StudyRecord.orthanc_study_id == orthanc_study_id)
            ).one_or_none()
        if record is None:
            raise NotFound("The study whose priors are wanted is not in the archive any more.")
        return _of_known_patient(_local(record))


def _of_known_patient(own: Prior) -> Prior:
    if not own.patient_id:
        raise Reject(
            "There is no patient ID: nothing is known to be of the same patient. Correct the study or the order, then "
            "route it again."
        )
    return own


def _local(record: StudyRecord) -> Prior:
    return Prior(
        record.study_instance_uid,
        record.patient_id,
        record.issuer_of_patient_id,
        "" if record.patient_birth_date is None else record.patient_birth_date.strftime("%Y%m%d"),
        record.newest_first_key,
        frozenset(filter(None, record.modalities_key.split("|"))),
        frozenset(filter(None, record.body_parts_key.split("|"))),
    )


def _remote(found: Json) -> Prior:
    modalities: Sequence[str] = found["ModalitiesInStudy"]
    # Old archives write days otherwise, or none that there are.
    studied, born = day(found["StudyDate"]), day(found["PatientBirthDate"])
    return Prior(
        found["StudyInstanceUID"],
        found["PatientID"],
        found["IssuerOfPatientID"],
        f"{born:%Y%m%d}" if born else found["PatientBirthDate"],
        f"{studied:%Y%m%d}{found['StudyTime'][:6]}" if studied else "",
        frozenset(map(str.upper, modalities)),
        frozenset(map(str.upper, found["body_parts"])),
    )
