"""Every attribute of PS3.15 table E.1-1 is treated as the columns of the profile and of each option say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from fixtures.deidentification import instance, project, read_again, treated
from pacs.deidentify import Project, deidentify
from pacs.deidentify.options import Clean, Option, Retain
from pacs.deidentify.table import Row, confidentiality_profile

ROWS = [row for row in confidentiality_profile() if "x" not in row.key and row.key != "private"]
# Rows about several tags have tests of their own.
PATTERNS = {row.key: row for row in confidentiality_profile() if row not in ROWS}
NO_DATA_SET_GROUPS = range(8)
UNIQUE = "1.2.3.4.5.6.7"
# What an attribute holds, by VR: something that must not come out, and a word that may, for descriptions.
PLANTED: dict[str, Any] = {
    "AE": "PLANTED",
    "AS": "045Y",
    "CS": "PLANTED",
    "DA": "20240229",
    "DS": "71.5",
    "DT": "20240229101112.5",
    "IS": "4711",
    "LO": "CHEST Planted",
    "LT": "CHEST Planted",
    "OB": b"Planted!",
    "PN": "Planted^Person",
    "SH": "CHEST Planted",
    "ST": "CHEST Planted",
    "TM": "101112",
    "UC": "CHEST Planted",
    "UI": UNIQUE,
    "UN": b"Planted!",
    "UR": "https://planted.example",
    "US": 3,
    "UT": "CHEST Planted",
}
CLEANED = "CHEST"
# Attributes that are younger than pydicom's dictionary, and have no VR in it.
YOUNGER = {"Sequence": "SQ", "DateTime": "DT"}
TIMEZONE = 0x00080201
OPTIONS: list[Option] = [*Retain, Clean.DESCRIPTORS, Clean.STRUCTURED, Clean.GRAPHICS]


def _tag(row: Row) -> int:
    return int(row.key, 16)


def _vr(row: Row) -> str:
    try:
        return dictionary_VR(_tag(row)).partition(" or ")[0]
    except KeyError:
        return next((vr for end, vr in YOUNGER.items() if row.name.endswith(end)), "LO")


def _item() -> Dataset:
    item = Dataset()
    item.PatientName = "Planted^Person"
    item.ReferencedSOPInstanceUID = UNIQUE
    item.SliceThickness = "1.5"
    return item


def _planted(row: Row) -> DataElement:
    vr = _vr(row)
    value = "+0200" if _tag(row) == TIMEZONE else [_item()] if vr == "SQ" else PLANTED[vr]
    return DataElement(_tag(row), vr, value)


def _with(row: Row) -> Dataset:
    dataset = instance()
    dataset[_tag(row)] = _planted(row)
    return dataset


def _treated(row: Row, made: Project) -> Dataset:
    dataset = _with(row)
    # Instances of files have their values as bytes, those of other programs as Python's: both, in turn.
    given = dataset if _tag(row) % 4 == 0 or _tag(row) >> 16 in NO_DATA_SET_GROUPS else read_again(dataset)
    return deidentify(given, made, b"s" * 32).dataset


def _value(dataset: Dataset, row: Row) -> Any:
    value = dataset[_tag(row)].value
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else value


def _check_basic(row: Row, dataset: Dataset) -> None:
    """Compare with the column of the profile. Of its choices one that every type of attribute allows is taken."""
    planted = _planted(row)
    if row.basic == "X":
        assert _tag(row) not in dataset
        return
    value = _value(dataset, row)
    if row.key in ("00100010", "00100020"):
        assert len(value) == 16
    elif row.basic in ("Z", "X/Z"):
        assert not value
    elif row.basic == "U":
        assert value.startswith("2.25.")
    elif row.basic == "X/Z/U*":
        assert value[0].ReferencedSOPInstanceUID.startswith("2.25.")
    else:
        assert row.basic in ("D", "X/D", "Z/D", "X/Z/D")
        assert value
        assert value != planted.value
    assert "Planted" not in str(value)


def _check_option(row: Row, option: Option, dataset: Dataset) -> None:
    letter, planted = row.options[option], _planted(row)
    if letter == "K" and planted.VR != "SQ":
        assert _value(dataset, row) == planted.value
    elif planted.VR == "SQ":
        _check_sequence(row, option, dataset)
    elif option is Retain.MODIFIED_DATES:
        _check_moved(row, planted, dataset)
    elif planted.VR in ("OB", "AE", "CS"):
        # No word of it is allowed, so nothing is left to keep.
        _check_basic(row, dataset)
    else:
        assert letter == "C"
        assert _value(dataset, row) == CLEANED


def _check_sequence(row: Row, option: Option, dataset: Dataset) -> None:
    item = dataset[_tag(row)].value[0]
    assert "Planted" not in str(item)
    if row.key == "0040A730":
        return
    assert item.SliceThickness == 1.5
    kept = option is Retain.UIDS
    assert (item.ReferencedSOPInstanceUID == UNIQUE) is kept


def _check_moved(row: Row, planted: DataElement, dataset: Dataset) -> None:
    if planted.VR == "TM" or _tag(row) == TIMEZONE:
        assert _value(dataset, row) == planted.value
    elif planted.VR in ("DA", "DT"):
        value = str(_value(dataset, row))
        assert value[:8] == dataset.StudyDate != "20240229"
        assert value[8:] == planted.value[8:]
    else:
        _check_basic(row, dataset)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.key}-{row.name}")
def test_attribute_is_treated_as_its_columns_say(row: Row) -> None:
    """An attribute of the table becomes what the profile's column says, and with each option what its column says."""
    _check_basic_or_absent(row, _treated(row, project()))
    for option in OPTIONS:
        made = project(option)
        dataset = _with(row)
        if option is Retain.MODIFIED_DATES:
            dataset.StudyDate = "20240229"
        result = deidentify(dataset, made, b"s" * 32).dataset
        if option in row.options and _tag(row) >> 16 not in NO_DATA_SET_GROUPS:
            _check_option(row, option, result)
        elif not (option is Retain.MODIFIED_DATES and row.key == "00080020"):
            _check_basic_or_absent(row, result)


def _check_basic_or_absent(row: Row, dataset: Dataset) -> None:
    if _tag(row) >> 16 in NO_DATA_SET_GROUPS:
        # Of commands, files and directories: no attribute of an instance.
        assert _tag(row) not in dataset
    else:
        _check_basic(row, dataset)


@pytest.mark.parametrize("row", [row for row in ROWS if int(row.key[:4], 16) >= 8], ids=lambda row: row.key)
def test_attribute_is_treated_the_same_at_any_depth(row: Row) -> None:
    """An attribute three sequences deep is treated by the same column as at the top."""
    innermost, dataset = Dataset(), instance()
    innermost[_tag(row)] = _planted(row)
    for _ in range(3):
        outer = Dataset()
        outer.ReferencedSeriesSequence = [innermost]
        innermost = outer
    dataset.ReferencedSeriesSequence = innermost.ReferencedSeriesSequence
    result = deidentify(read_again(dataset), project(), b"s" * 32).dataset
    for _ in range(3):
        result = result.ReferencedSeriesSequence[0]
    if row.key in ("00100010", "00100020"):
        assert "Planted" not in str(result)
    else:
        _check_basic(row, result)


@pytest.mark.parametrize("group", range(0x5000, 0x5020, 2))
def test_curves_go_whole_with_and_without_clean_graphics(group: int) -> None:
    """Nothing of a curve's group stays: its labels and comments are as telling as its data."""
    assert PATTERNS["50xxxxxx"].basic == "X"
    _check_group_goes(group, {0x0005: ("US", 1), 0x0040: ("LO", "Planted"), 0x3000: ("OW", b"Planted!")})


@pytest.mark.parametrize("group", range(0x6000, 0x6020, 2))
def test_overlays_go_whole_with_and_without_clean_graphics(group: int) -> None:
    """Nothing of an overlay's group stays: an overlay without data is none."""
    assert PATTERNS["60xx3000"].basic == PATTERNS["60xx4000"].basic == "X"
    _check_group_goes(
        group, {0x0010: ("US", 8), 0x0022: ("LO", "Planted"), 0x3000: ("OW", b"Planted!"), 0x4000: ("LT", "P")}
    )


def _check_group_goes(group: int, elements: dict[int, tuple[str, Any]]) -> None:
    dataset = instance()
    for element, (vr, value) in elements.items():
        dataset[group << 16 | element] = DataElement(group << 16 | element, vr, value)
    for options in ((), (Clean.GRAPHICS,)):
        assert not [element for element in treated(dataset, *options) if element.tag.group == group]


def _their_rows() -> Iterator[tuple[str, str]]:
    for category, tags in dicom_anonymization_database_selector("dicomfields_2026c").items():
        for tag in tags if category != "ALL_TAGS" else ():
            name = category.removesuffix("_TAGS").replace("U_STAR", "U*").replace("_", "/")
            yield f"{tag[0]:04X}{tag[1]:04X}", name


def test_table_is_that_of_another_reader_of_the_standard() -> None:
    """Our file has the rows and the profile's column of dicom-anonymizer's list of the edition 2026c.

    It writes repeating groups by their first. Rows of ours from the edition 2024e have that edition's columns of the
    options; those that came later have of these only what keeps nothing by mistake.
    """
    ours = {row.key: row.basic for row in confidentiality_profile()}
    theirs = {key: basic for key, basic in _their_rows() if key not in ("50000000", "60003000", "60004000")}
    del ours["private"], ours["50xxxxxx"], ours["60xx3000"], ours["60xx4000"]
    assert ours == theirs


def test_table_says_keep_or_clean_alone() -> None:
    """Options have no other letters than K and C, and every row has a letter of the profile."""
    letters = {letter for row in confidentiality_profile() for letter in row.options.values()}
    assert letters == {"K", "C"}
    assert {row.basic for row in confidentiality_profile()} == {
        "X",
        "Z",
        "D",
        "U",
        "X/Z",
        "X/D",
        "Z/D",
        "X/Z/D",
        "X/Z/U*",
    }
