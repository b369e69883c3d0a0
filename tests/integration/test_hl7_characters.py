"""A name's way through the running archive: HL7, worklist, image, study list; whatever the sender's character set."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
from pydicom import Dataset
from pynetdicom import build_context
from pynetdicom.sop_class import ModalityWorklistInformationFind

from fixtures.fictitious_studies import dicom_image
from fixtures.hl7_characters import LABELS, NAMES
from fixtures.mllp import msa, order, sender
from fixtures.process_pools import becomes_true
from fixtures.running_pacs import RunningPacs
from fixtures.stations import associated, find, register, store_all
from fixtures.worklist_entries import question

CONTEXT = build_context(ModalityWorklistInformationFind)
STATION = "LETTERS1"
SENT = {f"LETTERS-{n}": each for n, each in enumerate(itertools.product(LABELS, NAMES))}
EXPECTED = {patient_id: name for patient_id, (_, name) in SENT.items()}


@pytest.fixture(scope="module")
def letters(pacs: RunningPacs) -> RunningPacs:
    """Return the archive after every name was ordered for in every character set, and every order became an entry."""
    register(pacs, STATION, 11113)
    with sender(pacs.hl7_port, timeout_seconds=30) as his:
        for patient_id, ((label, codec), name) in SENT.items():
            text = order(patient_id, patient_id=patient_id, accession=patient_id).decode()
            message = text.replace("8859/1", label).replace("PRUEBA^ANA^MARIA", name).encode(codec)
            assert msa(his.send(message)) == ("AA", patient_id)
    assert becomes_true(lambda: len(asked_for(pacs, "ISO_IR 192")) == len(SENT), 60)
    return pacs


def asked_for(pacs: RunningPacs, charset: str) -> Mapping[str, Dataset]:
    """Ask for the worklist as a modality that reads a character set; return the answers by patient."""
    keys = question(SpecificCharacterSet=charset, PatientName="", PatientID="LETTERS-*", StudyInstanceUID="")
    with associated(pacs, [CONTEXT], calling=STATION) as association:
        answers, _ = find(association, keys, ModalityWorklistInformationFind)
    return {answer.PatientID: answer for answer in answers}


@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO_IR 100"])
def test_worklist_has_every_name_as_it_was_sent(letters: RunningPacs, charset: str) -> None:
    """No letter changes between HL7 and C-FIND, in whichever of both character sets a modality asks."""
    answers = asked_for(letters, charset)
    assert {patient_id: str(answer.PatientName) for patient_id, answer in answers.items()} == EXPECTED
    assert {answer.SpecificCharacterSet for answer in answers.values()} == {charset}


def test_study_list_has_every_name_as_it_was_sent(letters: RunningPacs) -> None:
    """A modality copies the name into its images, in Latin-1 or UTF-8, and QIDO-RS tells it letter by letter."""
    images = []
    for charset, part in (("ISO_IR 192", 0), ("ISO_IR 100", 1)):
        answers = asked_for(letters, charset)
        images += [_image_of(answers[patient_id]) for patient_id in list(SENT)[part::2]]
    assert set(store_all(letters, images, calling=STATION)) == {0x0000}
    found = letters.archive.get_json(f"/dicom-web/studies?PatientID=LETTERS-*&limit={len(SENT) + 1}")
    assert {study["00100020"]["Value"][0]: study["00100010"]["Value"][0]["Alphabetic"] for study in found} == EXPECTED


def _image_of(step: Dataset) -> Dataset:
    """Return an image with what a modality takes over from its worklist."""
    return dicom_image(
        SpecificCharacterSet=step.SpecificCharacterSet,
        PatientName=step.PatientName,
        PatientID=step.PatientID,
        StudyInstanceUID=step.StudyInstanceUID,
    )
