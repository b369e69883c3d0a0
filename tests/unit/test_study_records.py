"""`pacs.studies.records` and `dicom_values`: Orthanc's JSON, as odd as modalities make it, as a row."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import pytest

from fixtures.study_rows import study_row
from pacs.studies.dicom_values import day, enclosed, moment, newest_first_key, parted, text, time_of_day
from pacs.studies.records import row_values


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("20260310", date(2026, 3, 10)),
        ("2026.03.10", date(2026, 3, 10)),
        (" 20260310 ", date(2026, 3, 10)),
        ("", None),
        (None, None),
        ("202603", None),
        ("20260230", None),
        ("00000000", None),
        ("19800101-19900101", None),
        ("unknown!", None),
    ],
)
def test_day_reads(value: object, expected: date | None) -> None:
    """A DA value becomes a date; whatever is none becomes None, never an error."""
    assert day(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("101112", time(10, 11, 12)),
        ("101112.123456", time(10, 11, 12)),
        ("10:11:12", time(10, 11, 12)),
        ("1011", time(10, 11)),
        ("10", time(10)),
        ("235960", time(23, 59, 59)),
        ("", None),
        ("1", None),
        ("240000", None),
        ("ab1112", None),
        ("١٢١٢١٢", None),
    ],
)
def test_time_reads(value: object, expected: time | None) -> None:
    """A TM value becomes a time; whatever is none becomes None."""
    assert time_of_day(value) == expected


def test_moment_reads_orthanc_utc() -> None:
    """Orthanc writes moments in UTC without saying so."""
    assert moment("20261122T014022") == datetime(2026, 11, 22, 1, 40, 22, tzinfo=UTC)
    assert moment("") is None


def test_newest_first_key_orders() -> None:
    """Sorted backwards: the newest first, a study without time at midnight, one without date last."""
    keys = [newest_first_key(date(2026, 3, 10), time(10)), newest_first_key(date(2026, 3, 10), None)]
    keys += [newest_first_key(date(905, 1, 1), None), newest_first_key(None, time(10))]
    assert keys == sorted(keys, reverse=True)
    assert keys[-1] == ""


def test_enclosed_and_parted_are_inverse() -> None:
    """Distinct values, sorted; a value can't smuggle in the separator."""
    assert parted(enclosed(["SR", "CT", "", "CT", "A|B"])) == ("AB", "CT", "SR")
    assert parted(enclosed([])) == ()


def test_text_is_storable() -> None:
    """U+0000, which PostgreSQL refuses, and padding are taken away."""
    assert text("ab\0c \0") == "abc"


def test_row_of_empty_study() -> None:
    """A study whose attributes are all absent has a row."""
    row = row_values({"ID": "x"}, [])
    assert (row["patient_name"], row["study_date"], row["modalities_key"], row["instance_count"]) == ("", None, "", 0)


def test_keys_fit_an_index() -> None:
    """However long values are, all keys together stay within what PostgreSQL takes into one index entry."""
    row = study_row(
        " ".join(f"M{number}" for number in range(500)),
        PatientName="山" * 5000,
        PatientID="日" * 5000,
        AccessionNumber="月" * 5000,
        StudyDescription="é" * 9000,
    )
    keys = (
        "name_key",
        "identifiers_key",
        "description_key",
        "modalities_key",
        "patient_id_key",
        "accession_number_key",
    )
    assert sum(len(row[key].encode()) for key in keys) < 2650
    assert row["patient_name"] == "山" * 5000
