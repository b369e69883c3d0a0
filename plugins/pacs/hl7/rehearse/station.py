"""A modality as a rehearsal plays it: asks for its worklist, stores an image, reports its step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    ModalityWorklistInformationFind,
)

from pacs.associations import associate
from pacs.errors import PeerError
from pacs.hl7.rehearse.fiction import Fiction

_ANSWER_SECONDS = 15
_SUCCESS = 0x0000
_NOT_AUTHORIZED = 0x0124
_IS_PENDING = frozenset({0xFF00, 0xFF01})
# The MPPS service looks at the list of AEs every two seconds.
_KNOWN_AFTER_SECONDS = 4.0
_TRY_AGAIN_SECONDS = 0.5


class StationFault(PeerError):
    """The archive did not do what a modality asked of it. The message is what the sheet says."""

    code = "rehearsal"


@dataclass(frozen=True)
class Address:
    """Where a service listens, and by which title it is called."""

    host: str
    port: int
    ae_title: str

    def __str__(self) -> str:
        return f"{self.ae_title} at {self.host}:{self.port}"


@dataclass(frozen=True)
class Station:
    """The modality of a fiction, towards the archive and its MPPS service."""

    fiction: Fiction
    archive: Address
    mpps: Address

    def find_entry(self, *, by_station: bool) -> Dataset | None:
        """Ask for the day's worklist of the modality and return the entry of fiction, None when it is not there.

        Raises
        ------
        StationFault : the question was refused or not answered.
        """
        with self._associated(self.archive, ModalityWorklistInformationFind) as association:
            answers = association.send_c_find(self._question(by_station=by_station), ModalityWorklistInformationFind)
            found, last = None, None
            for status, answer in answers:
                last = status.get("Status")
                if last in _IS_PENDING and answer is not None and answer.get("PatientID") == self.fiction.patient_id:
                    found = answer
        if last is None:
            raise StationFault(f"C-FIND: the archive hung up. May {self.fiction.ae_title} ask for its worklist?")
        _require_success(last, "C-FIND")
        return found

    def store(self, image: Dataset) -> None:
        """Send an image by C-STORE. Raise StationFault when it is not taken."""
        with self._associated(self.archive, UID(image.SOPClassUID)) as association:
            _require_success(association.send_c_store(image).get("Status"), "C-STORE")

    def begin(self, entry: Dataset) -> str:
        """Report the step as begun (N-CREATE) and return its SOP Instance UID. Raise StationFault when refused."""
        sop_instance_uid = str(generate_uid(prefix=None))
        give_up_at = time.monotonic() + _KNOWN_AFTER_SECONDS
        while True:
            with self._associated(self.mpps, ModalityPerformedProcedureStep) as association:
                answer, _ = association.send_n_create(
                    self._begun(entry), ModalityPerformedProcedureStep, UID(sop_instance_uid)
                )
            if answer.get("Status") != _NOT_AUTHORIZED or time.monotonic() > give_up_at:
                _require_success(answer.get("Status"), "N-CREATE", answer)
                return sop_instance_uid
            time.sleep(_TRY_AGAIN_SECONDS)

    def end(self, sop_instance_uid: str, image: Dataset) -> None:
        """Report the step as completed (N-SET). Raise StationFault when refused."""
        with self._associated(self.mpps, ModalityPerformedProcedureStep) as association:
            answer, _ = association.send_n_set(
                self._ended(image), ModalityPerformedProcedureStep, UID(sop_instance_uid)
            )
        _require_success(answer.get("Status"), "N-SET", answer)

    # -- what is sent --------------------------------------------------------------------------------------------------

    def _question(self, *, by_station: bool) -> Dataset:
        """Return what modalities ask: what is for me today (PS3.4 K.6.1.2)."""
        step, question = Dataset(), Dataset()
        step.Modality = self.fiction.modality
        step.ScheduledProcedureStepStartDate = f"{self.fiction.start:%Y%m%d}"
        step.ScheduledStationAETitle = self.fiction.ae_title if by_station else ""
        for keyword in ("ScheduledProcedureStepStartTime", "ScheduledProcedureStepID"):
            setattr(step, keyword, "")
        step.ScheduledProcedureStepDescription = ""
        for keyword in ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"):
            setattr(question, keyword, "")
        for keyword in ("AccessionNumber", "RequestedProcedureID", "RequestedProcedureDescription"):
            setattr(question, keyword, "")
        question.StudyInstanceUID = ""
        question.ScheduledProcedureStepSequence = [step]
        return question

    def _begun(self, entry: Dataset) -> Dataset:
        """Return the attributes of an N-CREATE (PS3.4 table F.7.2-1)."""
        scheduled, report = Dataset(), Dataset()
        scheduled.StudyInstanceUID = entry.StudyInstanceUID
        scheduled.ReferencedStudySequence = []
        for keyword in ("AccessionNumber", "RequestedProcedureID", "RequestedProcedureDescription"):
            setattr(scheduled, keyword, entry.get(keyword, ""))
        scheduled.ScheduledProcedureStepID = entry.ScheduledProcedureStepSequence[0].get("ScheduledProcedureStepID", "")
        scheduled.ScheduledProcedureStepDescription = self.fiction.play.procedure
        scheduled.ScheduledProtocolCodeSequence = []
        report.SpecificCharacterSet = entry.get("SpecificCharacterSet", "ISO_IR 100")
        report.ScheduledStepAttributesSequence = [scheduled]
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
            setattr(report, keyword, entry.get(keyword, ""))
        report.ReferencedPatientSequence, report.ProcedureCodeSequence = [], []
        report.PerformedProcedureStepID = self.fiction.accession_number
        report.PerformedStationAETitle, report.PerformedStationName = self.fiction.ae_title, ""
        report.PerformedLocation, report.PerformedProcedureTypeDescription = "", ""
        report.PerformedProcedureStepDescription = self.fiction.play.procedure
        report.PerformedProcedureStepStartDate = f"{self.fiction.start:%Y%m%d}"
        report.PerformedProcedureStepStartTime = f"{self.fiction.start:%H%M%S}"
        report.PerformedProcedureStepEndDate, report.PerformedProcedureStepEndTime = "", ""
        report.PerformedProcedureStepStatus = "IN PROGRESS"
        report.Modality, report.StudyID = self.fiction.modality, ""
        report.PerformedProtocolCodeSequence, report.PerformedSeriesSequence = [], []
        return report

    def _ended(self, image: Dataset) -> Dataset:
        """Return the attributes of an N-SET that completes the step."""
        report, series, reference = Dataset(), Dataset(), Dataset()
        reference.ReferencedSOPClassUID = image.SOPClassUID
        reference.ReferencedSOPInstanceUID = image.SOPInstanceUID
        series.SeriesInstanceUID, series.SeriesDescription = image.SeriesInstanceUID, self.fiction.play.procedure
        series.ProtocolName, series.RetrieveAETitle = self.fiction.play.procedure, ""
        series.PerformingPhysicianName, series.OperatorsName = "", ""
        series.ReferencedImageSequence = [reference]
        series.ReferencedNonImageCompositeSOPInstanceSequence = []
        report.PerformedProcedureStepStatus = "COMPLETED"
        report.PerformedProcedureStepEndDate = f"{self.fiction.start:%Y%m%d}"
        report.PerformedProcedureStepEndTime = f"{self.fiction.start:%H%M%S}"
        report.PerformedSeriesSequence = [series]
        return report

    @contextmanager
    def _associated(self, to: Address, sop_class: UID) -> Iterator[Association]:
        entity = AE(ae_title=self.fiction.ae_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _ANSWER_SECONDS
        entity.add_requested_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        association = associate(entity, to.host, to.port, ae_title=to.ae_title)
        if not association.is_established:
            why = "refused the association" if association.is_rejected else "does not answer"
            if association.is_aborted and association.accepted_contexts == []:
                why = f"does not take {sop_class.name} of {self.fiction.ae_title}"
            raise StationFault(f"{to} {why}.")
        try:
            yield association
        finally:
            if association.is_established:
                association.release()


def _require_success(code: int | None, service: str, answer: Dataset | None = None) -> None:
    if code is None:
        raise StationFault(f"{service}: no answer.")
    if code != _SUCCESS:
        comment = str(answer.get("ErrorComment") or "") if answer else ""
        raise StationFault(f"{service}: status {code:04X}. {comment}".strip())
