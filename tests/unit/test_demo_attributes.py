"""Patients, studies, identifiers and geometry of the generated instances."""

from __future__ import annotations

from datetime import date
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage

from pacs.demo.attributes import CharacterSet, Patient, Series, Study, new_instance
from pacs.demo.geometry import SliceStack
from pacs.demo.studies import ct_series
from pacs.demo.syntaxes import encoded
from pacs.demo.uids import uid_for


def test_uid_is_valid_and_derived_from_its_names() -> None:
    """The same names give the same UID under 2.25, other names another one."""
    assert uid_for("study", "a") == uid_for("study", "a") != uid_for("study", "b")
    assert uid_for("study", "a").is_valid
    assert uid_for("study", "a").startswith("2.25.")


def test_uids_of_a_study_tell_its_parts_apart() -> None:
    """Study, series, frame of reference and instances have UIDs of their own."""
    study = Study(key="x")
    first, second = Series(study, "CT", 1), Series(study, "CT", 2)
    assert first.frame_of_reference_uid == second.frame_of_reference_uid
    found = {
        study.study_instance_uid,
        first.frame_of_reference_uid,
        *(series.series_instance_uid for series in (first, second)),
        *(series.sop_instance_uid(number) for series in (first, second) for number in (1, 2)),
        Study(key="y").study_instance_uid,
    }
    assert len(found) == 9


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (CharacterSet.ASCII, "Doe^Jane"),
        (CharacterSet.LATIN_1, "Muñoz^Íñigo"),
        (CharacterSet.LATIN_1, "Conceição^João"),
        (CharacterSet.UTF_8, "Núñez-Gonçalves^Begoña=Žižka^Łukasz"),
    ],
)
def test_name_survives_writing_and_reading(character_set: CharacterSet, name: str) -> None:
    """A name with accents comes back from the file as it was, in the character set that the patient has."""
    study = Study(Patient("DEMO-1", name, character_set=character_set), description="Estudio")
    instance = dcmread(BytesIO(encoded(new_instance(Series(study, "CT"), CTImageStorage, 1))))
    assert str(instance.PatientName) == name
    assert instance.get("SpecificCharacterSet", "") == character_set


def test_name_is_written_in_the_bytes_of_its_character_set() -> None:
    """Latin-1 stores ñ as one byte, UTF-8 as two."""
    for character_set, codec in ((CharacterSet.LATIN_1, "latin-1"), (CharacterSet.UTF_8, "utf-8")):
        study = Study(Patient(name="Muñoz^Íñigo", character_set=character_set), referring_physician="", description="")
        file = encoded(new_instance(Series(study, "CT"), CTImageStorage, 1))
        assert "Muñoz^Íñigo".encode(codec) in file


@pytest.mark.parametrize(
    ("born", "examined", "age"),
    [
        (date(1970, 6, 15), date(2025, 6, 14), "054Y"),
        (date(1970, 6, 15), date(2025, 6, 15), "055Y"),
        (date(2024, 2, 29), date(2025, 2, 28), "000Y"),
    ],
)
def test_age_counts_whole_years(born: date, examined: date, age: str) -> None:
    """PatientAge changes on the birthday."""
    assert Study(Patient(birth_date=born), date=examined).age() == age


def test_ct_series_has_the_geometry_it_was_asked_for() -> None:
    """Spacing, orientation and positions of the slices agree with the series' parameters."""
    images = ct_series(slices=4, size=32, slice_spacing_mm=2.5, lowest_z=100)
    assert [image.ImagePositionPatient[2] for image in images] == [100, 102.5, 105, 107.5]
    assert [image.InstanceNumber for image in images] == [1, 2, 3, 4]
    for image in images:
        assert (image.Rows, image.Columns) == (32, 32)
        assert list(image.PixelSpacing) == [12.5, 12.5]
        assert list(image.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
        assert (image.SliceThickness, image.SpacingBetweenSlices) == (2.5, 2.5)
    assert len({image.FrameOfReferenceUID for image in images}) == 1
    assert len({image.SOPInstanceUID for image in images}) == 4


def test_tilted_stack_moves_along_its_normal() -> None:
    """In a tilted stack the gap between positions, along the normal of the orientation, is the slice spacing."""
    stack = SliceStack((-10, -20, -30), 0.9, 0.9, 4.0, 3.6, tilt_degrees=-8)
    row, column = np.reshape(stack.orientation(), (2, 3))
    normal = np.cross(row, column)
    steps = np.diff([stack.position(index) for index in range(5)], axis=0)
    assert steps @ normal == pytest.approx([4.0] * 4, abs=1e-5)
    assert np.linalg.norm(np.cross(steps, normal), axis=1) == pytest.approx([0] * 4, abs=1e-4)


def test_positions_fit_into_decimal_strings() -> None:
    """No number of the geometry is longer than the 16 characters of a DS."""
    for image in ct_series(slices=3, size=48, slice_spacing_mm=10 / 3):
        numbers = [*image.ImagePositionPatient, *image.PixelSpacing, image.SliceThickness, image.SliceLocation]
        assert all(len(str(number)) <= 16 for number in numbers)
