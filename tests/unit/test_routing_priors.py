"""Priors: of the same patient for sure, and of the kind that was asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pacs.routing.prefetch.priors import Prior, Wish, is_same_patient
from pacs.routing.prefetch.service import _remote

OWN = Prior("1", "P1", "", "19700101", "20260310101500", frozenset({"CT"}), frozenset({"CHEST"}))


def prior(uid: str, day: str = "20250310", **other: object) -> Prior:
    """Return another study of the patient."""
    return replace(OWN, study_instance_uid=uid, newest_first_key=f"{day}090000", **other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({}, True),
        ({"patient_id": "P2"}, False),
        ({"birth_date": "19700102"}, False),
        ({"birth_date": ""}, False),
        ({"issuer_of_patient_id": "B"}, True),
    ],
)
def test_patient_is_the_same_only_when_nothing_differs(other: dict[str, str], same: bool) -> None:  # noqa: FBT001
    """A number alone is no identity: the birth date, or the issuer on both sides, must agree too."""
    assert is_same_patient(OWN, replace(OWN, **other)) is same


def test_issuers_that_differ_are_two_patients() -> None:
    """Two hospitals use the same number."""
    one, other = replace(OWN, issuer_of_patient_id="A"), replace(OWN, issuer_of_patient_id="B")
    assert not is_same_patient(one, other)
    assert is_same_patient(one, replace(one, birth_date=""))


def test_nobody_has_an_empty_number() -> None:
    """Studies without a patient ID are nobody's priors."""
    assert not is_same_patient(replace(OWN, patient_id=""), replace(OWN, patient_id=""))


def test_wish_takes_the_newest_that_fit() -> None:
    """Modality, body part, age and number count; the study itself and later ones are no priors."""
    candidates = [
        OWN,
        prior("later", "20260401"),
        prior("a", "20260101"),
        prior("b", "20250101"),
        prior("c", "20240101"),
        prior("old", "20100101"),
        prior("mr", modalities=frozenset({"MR"})),
        prior("head", body_parts=frozenset({"HEAD"})),
    ]
    wish = Wish.of({"modalities": ["ct"], "body_parts": ["chest"], "last": 2, "within_days": 1000})
    assert [one.study_instance_uid for one in wish.chosen(OWN, candidates)] == ["a", "b"]
    assert len(Wish(within_days=1000).chosen(OWN, candidates)) == 5


@pytest.mark.parametrize(("told", "taken"), [("2025.03.10", "20250310"), ("20251340", ""), ("soon", ""), ("", "")])
def test_day_that_another_archive_writes_otherwise_spoils_no_search(told: str, taken: str) -> None:
    """Old archives write days with points, or such that there are none: those studies have no day then."""
    answer = dict.fromkeys(("PatientBirthDate", "StudyTime", "IssuerOfPatientID"), "")
    answer |= {"StudyInstanceUID": "2", "PatientID": "P1", "StudyDate": told, "PatientBirthDate": "1970.01.01"}
    found = _remote({**answer, "ModalitiesInStudy": ["CT"], "body_parts": ["chest"]})
    assert (found.newest_first_key, found.birth_date) == (taken, "19700101")
    assert len(Wish(within_days=1000).chosen(OWN, [found])) == bool(taken)
