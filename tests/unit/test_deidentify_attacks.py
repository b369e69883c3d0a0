"""What somebody would try who wants to find out whose an instance was, or to smuggle a name through."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from fixtures.deidentification import SECRET, as_file, instance, project, read_again, treated
from pacs.deidentify import Refused, deidentify, deidentify_file
from pacs.deidentify.files import be_silent
from pacs.deidentify.keys import Keys
from pacs.deidentify.options import Clean, Retain
from pacs.deidentify.subject import subject_of
from pacs.demo.syntaxes import transcoded

pytestmark = pytest.mark.usefixtures("pydicom_as_before")

PERSON = "Zanzibarov^Ekaterína"
NAMES = ("zanzibarov", "ekaterina", "ekaterína")


def _told(dataset: Dataset) -> str:
    return as_file(dataset).decode("latin-1").lower()


def _person(**values: Any) -> Dataset:
    return instance(
        SpecificCharacterSet="ISO_IR 192",
        PatientName=PERSON,
        PatientBirthDate="19700203",
        StudyDate="20240229",
        **values,
    )


@pytest.mark.parametrize(
    "text",
    [
        "Zanzibarov",
        "ZANZIBAROV EKATERINA",
        "ekaterina_zanzibarov",
        "ZanzibarovEkaterina",
        "EkaterinaZanzibarov!",
        "for Ekaterína",
        "MRN-778899",
        "x mrn-778899 x",
        "born 03.02.1970",
        "02/03/1970",
        "1970-02-03",
        "at 20240229",
        "on 2024-02-29",
        "of 1.2.3.4.1",
    ],
)
@pytest.mark.parametrize("keyword", ["ManufacturerModelName", "ConvolutionKernel", "SoftwareVersions", "SequenceName"])
def test_what_is_removed_is_not_found_elsewhere(text: str, keyword: str) -> None:
    """Names, numbers, dates and UIDs written into a text that stays, in any of the ways people do it, are found."""
    assert not treated(_person(**{keyword: text}))[keyword].value


@pytest.mark.parametrize("number", ["512", "4711", "00815"])
def test_short_number_of_a_patient_is_found_in_texts_and_not_in_numbers(number: str) -> None:
    """Patient 512 is not found in the 512 columns of an image, but in the name of a protocol."""
    result = treated(instance(PatientID=number, SoftwareVersions=f"run {number}", ExposureTime=number.lstrip("0")))
    assert not result.SoftwareVersions
    assert result.ExposureTime == int(number)


def test_long_number_of_a_patient_is_found_in_numbers() -> None:
    """A number of nine digits in a value of VR IS is the patient's."""
    assert not treated(instance(PatientID="123456789", ExposureTime="123456789")).ExposureTime


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_every_uncompressed_syntax_is_treated_the_same(syntax: pydicom.uid.UID) -> None:
    """Where the file does not tell VRs, or turns bytes around, the same is taken away."""
    item = _person(PatientComments=PERSON)
    dataset = _person(ReferencedSeriesSequence=[item], InstitutionName="Zanzibarov Clinic", ManufacturerModelName="M")
    dataset.private_block(0x0009, "ZANZIBAROV", create=True).add_new(1, "LO", PERSON)
    result = treated(transcoded(dataset, syntax), Retain.MODIFIED_DATES)
    expected = treated(dataset, Retain.MODIFIED_DATES)
    assert not any(name in _told(transcoded(result, ExplicitVRLittleEndian)) for name in NAMES)
    assert {element.tag: str(element.value) for element in result} == {
        element.tag: str(element.value) for element in expected
    }


def _raw(tag: int, vr: str, value: bytes) -> RawDataElement:
    return RawDataElement(Tag(tag), vr, len(value), value, 0, is_implicit_VR=False, is_little_endian=True)


@pytest.mark.parametrize(
    ("tag", "vr"),
    [
        (0x00100010, "OB"),
        (0x00100010, "UN"),
        (0x00100010, "SQ"),
        (0x00080080, "UT"),
        (0x00180050, "LO"),
        (0x00180050, "UT"),
        (0x00280010, "UT"),
        (0x00280010, "US"),
        (0x00080008, "LT"),
        (0x00180050, "SQ"),
        (0x00081115, "LO"),
        (0x00081140, "OB"),
        (0x0008FFF0, "LO"),
        (0x01080010, "LT"),
        (0x00080005, "LO"),
        (0x00080060, "CS"),
        (0x00280004, "CS"),
        (0x00280301, "CS"),
        (0x00282000, "OB"),
    ],
)
def test_value_is_judged_by_its_tag_whatever_vr_is_claimed(tag: int, vr: str) -> None:
    """A name does not come through by a VR that is not its attribute's, in attributes of any kind."""
    dataset = instance(ReferringPhysicianName=PERSON)
    dataset[tag] = _raw(tag, vr, b"ZANZIBAROV EKATERINA")
    assert not any(name in _outcome(dataset).lower() for name in NAMES)


def _outcome(dataset: Dataset) -> str:
    """Return all that is told: what comes out, or why it was refused."""
    try:
        return _told(deidentify(dataset, project(), SECRET).dataset)
    except Refused as refusal:
        return str(refusal)


def test_sequence_in_unknown_bytes_is_entered() -> None:
    """A sequence that a program that did not know it wrote as UN is looked through like any other."""
    inner = b"\x10\x00\x10\x00" + struct.pack("<I", 20) + b"ZANZIBAROV EKATERINA"
    value = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(inner)) + inner
    dataset = instance()
    dataset[0x00081115] = _raw(0x00081115, "UN", value)
    assert not any(name in _told(deidentify(dataset, project(), SECRET).dataset) for name in NAMES)


def test_what_others_wrote_of_their_deidentification_goes() -> None:
    """A former method of de-identification, by name of who did it, is replaced."""
    dataset = instance(DeidentificationMethod="by Zanzibarov", PatientIdentityRemoved="NO")
    result = treated(dataset)
    assert "zanzibarov" not in _told(result)
    assert result.PatientIdentityRemoved == "YES"


@pytest.mark.parametrize(
    "keyword",
    [
        "EncryptedAttributesSequence",
        "PrivateDataElementCharacteristicsSequence",
        "MACParametersSequence",
        "PatientBirthDateInAlternativeCalendar",
        "OwnerID",
    ],
)
def test_attributes_beyond_the_table_go(keyword: str) -> None:
    """What the table does not list and yet says whose it is, is removed: originals in encrypted form among it."""
    value = [Dataset()] if keyword.endswith("Sequence") else "Heisei 1"
    assert keyword not in treated(instance(**{keyword: value}), Retain.FULL_DATES, Retain.SAFE_PRIVATE)


def test_numbers_that_can_not_be_read_are_not_mixed_up() -> None:
    """Two numbers in a character set that the instance does not name stay two patients."""
    names = set()
    for byte in (b"\xf0\xf1", b"\xf0\xf2", b"\xf0\xf3"):
        dataset = Dataset()
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset[0x00100020] = _raw(0x00100020, "LO", byte)
        names.add(subject_of(dataset, project(), Keys(SECRET, "study")).pseudonym)
    assert len(names) == 3


def test_rle_header_says_nothing_beside_its_segments() -> None:
    """The 64 bytes before an RLE frame have room for a name; the room is cleared, the picture stays."""
    dataset = instance(Rows=8, Columns=8, SamplesPerPixel=1, BitsAllocated=8, BitsStored=8, HighBit=7)
    dataset.PixelRepresentation, dataset.PhotometricInterpretation = 0, "MONOCHROME2"
    dataset.PixelData = np.arange(64, dtype=np.uint8).tobytes()
    given_ = transcoded(dataset, RLELossless)
    (frame,) = generate_frames(given_.PixelData, number_of_frames=1)
    given_.PixelData = encapsulate([frame[:44] + b"ZANZIBAROV EKATERINA" + frame[64:]])
    result = treated(given_)
    assert b"ZANZIBAROV" in given_.PixelData
    assert b"ZANZIBAROV" not in result.PixelData
    assert np.array_equal(result.pixel_array, dataset.pixel_array)


@pytest.mark.parametrize("depth", [50, 5000])
def test_sequences_within_sequences_without_end_do_no_harm(depth: int) -> None:
    """Fifty levels are entered; five thousand are refused, or treated to the last, and no other error is raised."""
    item = instance(PatientName=PERSON)
    for _ in range(depth):
        outer = Dataset()
        outer[0x00081115] = DataElement(0x00081115, "SQ", [item])
        item = outer
    dataset = instance(ReferencedSeriesSequence=[item])
    try:
        result = deidentify(dataset, project(), SECRET).dataset
    except Refused:
        assert depth > 50
    else:
        while "ReferencedSeriesSequence" in result:
            result = result.ReferencedSeriesSequence[0]
        assert not result.PatientName


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_file_never_lets_a_name_through(tmp_path: Path, data: st.DataObject) -> None:
    """Of a file with bytes changed anywhere either nothing is written or nothing that holds the name."""
    be_silent()
    whole = bytearray(_damaged_source())
    for place in data.draw(st.lists(st.integers(132, len(whole) - 1), min_size=1, max_size=4)):
        whole[place] = data.draw(st.integers(0, 255))
    source = tmp_path / "in.dcm"
    source.write_bytes(bytes(whole))
    assert "zanzibarov" not in _file_outcome(source, tmp_path / "out").lower()


def _file_outcome(source: Path, folder: Path) -> str:
    try:
        target, _ = deidentify_file(source, folder, project(Clean.DESCRIPTORS), SECRET)
    except Refused as refusal:
        return str(refusal)
    told = f"{target} {target.read_bytes().decode('latin-1')}"
    target.unlink()
    return told


def _damaged_source() -> bytes:
    item = Dataset()
    item.PatientName = item.OperatorsName = "Zanzibarov"
    dataset = instance(PatientName="Zanzibarov", ReferringPhysicianName="Zanzibarov", OperatorsName="Zanzibarov")
    dataset.ReferencedSeriesSequence = [item, item]
    dataset.PatientComments = dataset.SeriesDescription = "Zanzibarov"
    dataset.PerformingPhysicianName = dataset.OtherPatientNames = "Zanzibarov"
    return as_file(dataset)


def test_two_runs_give_the_same_bytes() -> None:
    """A late instance of a study is the same whenever it comes: nothing in it is of the moment or by chance."""
    dataset = _person(SeriesDescription="CT")
    once, again = (as_file(deidentify(read_again(dataset), project(), SECRET).dataset) for _ in range(2))
    assert once == again
    assert pydicom.dcmread(BytesIO(once)).PatientID
