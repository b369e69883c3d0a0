"""Whose step a modality or an image means: a number counts with who gave it, and nobody is taken for another."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom import Dataset

from fixtures.worklist_entries import enter, entry
from pacs.database import Database
from pacs.mpps.matching import Match, StepNames, match
from pacs.worklist.steps import StepSelector

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")


def _issuer(name: str) -> list[Dataset]:
    item = Dataset()
    item.LocalNamespaceEntityID = name
    return [item]


def _match(database: Database, **names: str) -> Match:
    with database.session() as session:
        return match(session, StepNames(study_instance_uid="2.25.1", **names))


@pytest.mark.parametrize(
    ("ordered", "told", "is_same"),
    [
        (("P-1", "NORTH"), ("P-1", "NORTH"), True),
        (("P-1", "NORTH"), ("P-1", "SOUTH"), False),
        (("P-1", "NORTH"), ("P-1", ""), True),
        (("P-1", ""), ("P-1", "SOUTH"), True),
        (("P-1", ""), ("P-1", ""), True),
        (("P-1", "NORTH"), ("P-2", "NORTH"), False),
        (("P-1", "NORTH"), ("", ""), True),
    ],
)
def test_step_is_matched_by_number_and_issuer(
    database: Database,
    ordered: tuple[str, str],
    told: tuple[str, str],
    is_same: bool,  # noqa: FBT001
) -> None:
    """One number of two issuers is two patients; an issuer that is not told does not stand in the way."""
    enter(database, entry(PatientID=ordered[0], IssuerOfPatientID=ordered[1]))
    found = _match(database, patient_id=told[0], issuer_of_patient_id=told[1])
    assert (len(found.steps), found.is_contradicted) == ((1, False) if is_same else (0, True))


def test_two_patients_of_one_number_are_never_mixed(database: Database) -> None:
    """Two hospitals' orders share accession and patient number: who tells no issuer moves neither, who does his own."""
    enter(
        database,
        *(
            entry(
                StudyInstanceUID=uid,
                PatientID="P-1",
                IssuerOfPatientID=issuer,
                IssuerOfAccessionNumberSequence=_issuer(issuer),
            )
            for uid, issuer in (("2.25.2", "NORTH"), ("2.25.3", "SOUTH"))
        ),
    )
    told: dict[str, Any] = {"accession_number": "A-1", "patient_id": "P-1"}
    without = _match(database, **told)
    assert (without.steps, without.is_contradicted) == ([], True)
    (step,) = _match(database, **told, issuer_of_patient_id="SOUTH").steps
    with database.session() as session:
        (row,) = enter(database).select(session, StepSelector(row_id=step.row_id))
    assert row.issuer_of_patient_id == "SOUTH"


def test_who_tells_no_patient_moves_none_of_two(database: Database) -> None:
    """Orders of two patients share an accession number: where no patient is told, nobody can say whose is meant."""
    orders = (("2.25.2", "P-1", "NORTH"), ("2.25.3", "P-2", "SOUTH"))
    enter(
        database,
        *(
            entry(StudyInstanceUID=uid, PatientID=number, IssuerOfAccessionNumberSequence=_issuer(issuer))
            for uid, number, issuer in orders
        ),
    )
    found = _match(database, accession_number="A-1")
    assert (found.steps, found.is_contradicted) == ([], True)
    assert len(_match(database, accession_number="A-1", patient_id="P-2").steps) == 1


def test_merged_patient_is_matched_by_the_former_number_and_its_issuer(database: Database) -> None:
    """A modality that has the order as it was before a merge moves it, one of another hospital's patient does not."""
    worklist = enter(database, entry(PatientID="OLD", IssuerOfPatientID="NORTH"))
    survivor = Dataset()
    survivor.PatientID, survivor.IssuerOfPatientID = "NEW", "NORTH"
    with database.session(write=True) as session:
        worklist.merge_patients(session, [("OLD", "NORTH")], survivor, version=None, actor="test")
    for issuer, count in (("NORTH", 1), ("", 1), ("SOUTH", 0)):
        assert len(_match(database, patient_id="OLD", issuer_of_patient_id=issuer).steps) == count


def test_steps_of_a_patient_are_selected_by_number_and_issuer(database: Database) -> None:
    """A number without an issuer is not that of any issuer."""
    issuers = ("NORTH", "SOUTH", "")
    worklist = enter(
        database,
        *(entry(AccessionNumber=f"A-{name}", StudyInstanceUID="", IssuerOfPatientID=name or None) for name in issuers),
    )
    with database.session() as session:
        for issuer in issuers:
            (row,) = worklist.select(session, StepSelector(patient=("P-1", issuer)))
            assert row.accession_number == f"A-{issuer}"
        assert worklist.select(session, StepSelector(patient=("P-1", "EAST"))) == []
