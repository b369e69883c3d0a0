"""Pseudonyms, UIDs and shifts of dates: the same for the same, different for different."""

from __future__ import annotations

import re
import string
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage

from fixtures.deidentification import SECRET, instance, project, result_of, treated
from pacs.deidentify import Refused, deidentify
from pacs.deidentify.dates import shifted_date, shifted_date_time
from pacs.deidentify.keys import Keys
from pacs.deidentify.options import Retain
from pacs.deidentify.subject import subject_of
from pacs.deidentify.values import aged

KEYS = Keys(SECRET, "study")
# What LO may hold: no backslash, no control characters, blanks at the ends mean nothing.
LO = st.text(
    st.characters(codec="utf-8", exclude_characters="\\", exclude_categories=("Cc", "Cs")), min_size=1, max_size=64
)
IDENTIFIERS = LO.filter(lambda value: value == value.strip(" \0") and value.strip())
DAYS = st.dates(date(1900, 1, 1), date(2100, 1, 1))


def _patient(patient_id: str, issuer: str = "") -> Dataset:
    dataset = Dataset()
    dataset.PatientID = patient_id
    if issuer:
        dataset.IssuerOfPatientID = issuer
    return dataset


@given(first=st.tuples(IDENTIFIERS, IDENTIFIERS), second=st.tuples(IDENTIFIERS, IDENTIFIERS))
def test_pseudonym_is_of_number_and_issuer(first: tuple[str, str], second: tuple[str, str]) -> None:
    """Two patients have one pseudonym if and only if both number and issuer are the same."""
    subjects = [subject_of(_patient(*patient), project(), KEYS) for patient in (first, second)]
    same = [str(part).strip() for part in first] == [str(part).strip() for part in second]
    assert (subjects[0].pseudonym == subjects[1].pseudonym) is same


def test_pseudonym_does_not_join_what_stands_in_other_parts() -> None:
    """A number that ends as another's issuer begins is no other patient's."""
    names = {
        subject_of(_patient(*patient), project(), KEYS).pseudonym
        for patient in (("AB", "C"), ("A", "BC"), ("ABC", ""), ("C", "AB"), ("AB C", ""))
    }
    assert len(names) == 5


def test_pseudonym_takes_the_issuer_from_its_qualifiers() -> None:
    """A universal identifier of who issued the number tells patients apart as a name of it does."""
    dataset, qualifier = _patient("1"), Dataset()
    qualifier.UniversalEntityID, qualifier.UniversalEntityIDType = "1.2.3", "ISO"
    dataset.IssuerOfPatientIDQualifiersSequence = [qualifier]
    found = subject_of(dataset, project(), KEYS)
    assert found == subject_of(_patient("1", "1.2.3"), project(), KEYS)
    assert found != subject_of(_patient("1"), project(), KEYS)


def test_patients_without_issuer_are_those_of_the_projects_issuer() -> None:
    """An instance that came without issuer is of the same patient as one that has the project's."""
    made = project(issuer="HOSPITAL")
    assert subject_of(_patient("1"), made, KEYS) == subject_of(_patient("1", "HOSPITAL"), made, KEYS)
    assert subject_of(_patient("1"), made, KEYS) != subject_of(_patient("1", "CLINIC"), made, KEYS)


@pytest.mark.parametrize("patient_id", [None, "", "   ", "\0"])
def test_instance_without_patient_is_refused(patient_id: str | None) -> None:
    """Instances without a PatientID do not all become one patient: they are refused, with the cure."""
    dataset = instance(PatientID=patient_id)
    with pytest.raises(Refused, match=r"no PatientID.*without_patient_id: study"):
        deidentify(dataset, project(), SECRET)


def test_instance_without_patient_is_of_its_study_where_the_project_says_so() -> None:
    """Then each study is a patient of its own."""
    names = []
    for uid in ("1.2.3", "1.2.3", "1.2.4"):
        dataset = instance(PatientID="", StudyInstanceUID=uid)
        names.append(deidentify(dataset, project(without_patient_id="study"), SECRET).dataset.PatientID)
    assert names[0] == names[1] != names[2]


def test_projects_and_secrets_have_nothing_in_common() -> None:
    """Another project or another secret gives another pseudonym, other UIDs and other shifts."""
    keys = [KEYS, Keys(SECRET, "other"), Keys(b"another secret of 32 bytes or more", "study")]
    assert len({one.pseudonym(("id", "", "1")) for one in keys}) == 3
    assert len({one.uid("1.2.3") for one in keys}) == 3
    assert len({one.shift_days(("id", "", "1"), 3650) for one in keys}) == 3


@given(st.from_regex(r"[0-2](\.(0|[1-9][0-9]{0,9})){2,6}", fullmatch=True))
def test_uid_is_lawful_and_below_the_root_of_uuids(uid: str) -> None:
    """Every UID becomes one of RFC 9562's UUIDs of version 8, the same each time, and no other's."""
    found = KEYS.uid(uid)
    assert UID(found).is_valid
    number = int(found.removeprefix("2.25."))
    assert number >> 76 & 0xF == 8
    assert number >> 62 & 0x3 == 2
    assert found == Keys(SECRET, "study").uid(uid) != KEYS.uid(f"{uid}.1")


def test_uids_of_the_standard_stay() -> None:
    """SOP classes and other UIDs that the standard registers are nobody's."""
    assert KEYS.uid(CTImageStorage) == CTImageStorage
    assert KEYS.uid("1.2.840.10008.1.4.1.1") == "1.2.840.10008.1.4.1.1"


def test_uids_of_several_instances_stay_consistent() -> None:
    """A reference leads to the instance that it led to, and a study's instances stay one study."""
    reference = Dataset()
    reference.ReferencedSOPInstanceUID = "1.2.3.4.3"
    image, other = treated(instance()), treated(instance(SOPInstanceUID="1.2.9", ReferencedImageSequence=[reference]))
    assert other.ReferencedImageSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert other.StudyInstanceUID == image.StudyInstanceUID
    assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID


@given(first=DAYS, second=DAYS, days=st.integers(1, 3650))
def test_dates_keep_their_distance(first: date, second: date, days: int) -> None:
    """Two dates are as far apart after the shift as before, and each has moved by as many days."""
    moved = [date.fromisoformat(shifted_date(f"{day:%Y%m%d}", days) or "") for day in (first, second)]
    assert moved[0] - moved[1] == first - second
    assert moved[0] == first - timedelta(days=days)


@given(day=DAYS, days=st.integers(1, 3650), rest=st.sampled_from(["", "10", "1011", "101112", "101112.123456"]))
def test_moments_move_with_their_dates(day: date, days: int, rest: str) -> None:
    """A DT moves as the DA of its day, and keeps its time and its offset."""
    for offset in ("", "+0200", "-0330"):
        moved = shifted_date_time(f"{day:%Y%m%d}{rest}{offset}", days)
        assert moved == f"{shifted_date(f'{day:%Y%m%d}', days)}{rest}{offset}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024", "2024"),
        ("202402", "202401"),
        ("20240230", None),
        ("2024101112", "2024100112"),
        ("", None),
        ("next week", None),
        ("20240101250000", None),
    ],
)
def test_moments_are_as_precise_as_they_were(text: str, expected: str | None) -> None:
    """A year stays a year; what is no moment is none and does not stay."""
    assert shifted_date_time(text, 10) == expected


def test_old_dates_with_points_move_too() -> None:
    """ACR-NEMA's 2024.02.29 becomes a date of today's form."""
    assert shifted_date("2024.02.29", 29) == "20240131"
    assert shifted_date("2024.0229", 1) is None


@given(patient=IDENTIFIERS, most=st.integers(30, 3650))
def test_shift_is_never_none_and_never_far(patient: str, most: int) -> None:
    """Every patient's dates move, by one day at least and by what the project allows at most."""
    assert 1 <= KEYS.shift_days(("id", "", patient), most) <= most


def test_patient_has_one_shift_in_all_studies() -> None:
    """Dates of two studies of a patient, at any depth, move together."""
    item = Dataset()
    item.ContentDate = "20240301"
    studies = [
        treated(instance(StudyInstanceUID=uid, StudyDate=day, ReferencedSeriesSequence=[item]), Retain.MODIFIED_DATES)
        for uid, day in (("1.2.3", "20240229"), ("1.2.4", "20240310"))
    ]
    first, second = (date.fromisoformat(study.StudyDate) for study in studies)
    assert second - first == timedelta(days=10)
    assert {study.ReferencedSeriesSequence[0].ContentDate for study in studies} == {
        f"{first + timedelta(days=1):%Y%m%d}"
    }


def test_date_that_is_none_does_not_stay() -> None:
    """What stands in a date and is none is treated as if dates were not kept."""
    dataset = instance(AcquisitionDate="20240229")
    dataset["AcquisitionDate"].value = "JOHN DOE"
    assert not result_of(dataset, Retain.MODIFIED_DATES).dataset.get("AcquisitionDate")


@pytest.mark.parametrize(
    ("age", "expected"), [("089Y", ""), ("090Y", "090Y"), ("103Y", "090Y"), ("012M", ""), ("", "")]
)
def test_great_age_is_not_told(age: str, expected: str) -> None:
    """Who is older than 89 is "090Y" together with all others."""
    assert aged(age, 89) == expected
    kept = treated(instance(PatientAge=age), Retain.PATIENT).PatientAge
    assert kept == (expected or age)


def test_pseudonym_stands_in_name_and_number() -> None:
    """The pseudonym, with the project's letters before it, is all that says which patient it is."""
    result = treated(instance(PatientName="Doe^Jane"), pseudonym_prefix="LUNG-")
    assert result.PatientID == result.PatientName
    assert re.fullmatch(rf"LUNG-[{string.ascii_uppercase}2-7]{{16}}", result.PatientID)
