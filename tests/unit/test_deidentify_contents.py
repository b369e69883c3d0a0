"""Reports, documents, private attributes, words and what instances must be: each as the profile and the project say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    EncapsulatedPDFStorage,
    EncapsulatedSTLStorage,
    MediaStorageDirectoryStorage,
)

from fixtures.deidentification import SECRET, as_file, instance, project, read_again, result_of, treated
from pacs.deidentify import Refused, deidentify, deidentify_file
from pacs.deidentify.options import Clean, Retain
from pacs.deidentify.words import common_words, only_allowed


def _code(value: str, meaning: str = "Meaning", scheme: str = "DCM") -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _item(concept: str, value_type: str, scheme: str = "DCM", **values: Any) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", value_type
    item.ConceptNameCodeSequence = [_code(concept, scheme=scheme)]
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _report() -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4.3"
    finding = _item("121071", "TEXT", TextValue="Pulmon right, seen by Dr. Planted")
    finding.ContentSequence = [_item("121112", "IMAGE", ReferencedSOPSequence=[reference])]
    content = [
        _item("121008", "PNAME", PersonName="Planted^Observer"),
        _item("121030", "TEXT", TextValue="PLANTED-1"),
        _item("121022", "TEXT", TextValue="PLANTED-2"),
        _item("121033", "NUM"),
        _item("121016", "TEXT", TextValue="SERIAL-1"),
        _item("111060", "DATE", Date="20240229"),
        _item("999999", "TEXT", "99SITE", TextValue="Planted again"),
        _item("121012", "UIDREF", UID="1.2.3.4.9"),
        finding,
    ]
    return instance(SOPClassUID=BasicTextSRStorage, Modality="SR", ValueType="CONTAINER", ContentSequence=content)


def _texts(dataset: Dataset) -> dict[str, Any]:
    return {item.ConceptNameCodeSequence[0].CodeValue: item for item in dataset.ContentSequence}


def test_report_is_replaced_by_a_dummy_without_the_option() -> None:
    """The profile alone leaves nothing of a report's content but one item that says so."""
    (item,) = treated(_report()).ContentSequence
    assert (item.ValueType, item.TextValue) == ("TEXT", "REMOVED")


def test_report_is_looked_through_item_by_item() -> None:
    """With Clean Structured Content each item is treated by table E.3.4-1, or by its type where that is silent."""
    result = treated(_report(), Clean.STRUCTURED)
    items = _texts(result)
    assert "Planted" not in str(result)
    assert "PLANTED" not in str(result)
    assert items.keys() == {"121008", "121030", "121071", "111060", "121012", "999999"}
    assert items["121071"].TextValue == items["999999"].TextValue == "REMOVED"
    assert items["121012"].UID.startswith("2.25.")
    image = items["121071"].ContentSequence[0].ReferencedSOPSequence[0]
    assert image.ReferencedSOPInstanceUID == result_of(instance()).dataset.SOPInstanceUID


def test_options_say_what_of_a_report_stays() -> None:
    """Device, patient, dates, UIDs and words of a report stay with the option that table E.3.4-1 names."""
    options = (Clean.STRUCTURED, Clean.DESCRIPTORS, Retain.DEVICE, Retain.PATIENT, Retain.FULL_DATES, Retain.UIDS)
    items = _texts(treated(_report(), *options))
    assert items["121016"].TextValue == "SERIAL-1"
    assert "121033" in items
    assert items["111060"].Date == "20240229"
    assert items["121012"].UID == "1.2.3.4.9"
    assert items["121071"].TextValue == "Pulmon right"


def test_local_codes_go_from_codes_that_are_cleaned() -> None:
    """Of diagnoses in codes, those that only the hospital understands are removed (table E.1-1, note 7)."""
    codes = [_code("R91", "Lung nodule", "I10"), _code("X1", "Mr Planted's nodule", "99SITE")]
    result = treated(instance(AdmittingDiagnosesCodeSequence=codes), Clean.DESCRIPTORS)
    assert [code.CodeValue for code in result.AdmittingDiagnosesCodeSequence] == ["R91"]
    assert "AdmittingDiagnosesCodeSequence" not in treated(instance(AdmittingDiagnosesCodeSequence=codes))


def test_annotations_lose_their_texts_and_keep_their_lines() -> None:
    """With Clean Graphics lines and points stay; every text among them is replaced."""
    text, line, annotation = Dataset(), Dataset(), Dataset()
    text.UnformattedTextValue, text.AnchorPoint = "Doe, Jane", [1.0, 2.0]
    line.GraphicData, line.NumberOfGraphicPoints, line.GraphicType = [1.0, 2.0, 3.0, 4.0], 2, "POLYLINE"
    annotation.TextObjectSequence, annotation.GraphicObjectSequence = [text], [line]
    dataset = instance(GraphicAnnotationSequence=[annotation])
    (cleaned,) = treated(dataset, Clean.GRAPHICS).GraphicAnnotationSequence
    assert cleaned.TextObjectSequence[0].UnformattedTextValue == "REMOVED"
    assert cleaned.GraphicObjectSequence[0].GraphicData == [1.0, 2.0, 3.0, 4.0]
    (replaced,) = treated(dataset).GraphicAnnotationSequence
    assert replaced.GraphicObjectSequence[0].GraphicData == [0.0, 0.0, 0.0, 0.0]


def test_document_is_refused_or_replaced() -> None:
    """A PDF can't be looked through: it is refused, or replaced by an empty page that opens."""
    document = instance(SOPClassUID=EncapsulatedPDFStorage, EncapsulatedDocument=b"%PDF DOE^JANE ")
    document.EncapsulatedDocumentLength = 14
    with pytest.raises(Refused, match="documents: replace"):
        deidentify(read_again(document), project(), SECRET)
    result = treated(document, documents="replace")
    assert result.EncapsulatedDocument.startswith(b"%PDF-1.4")
    assert result.EncapsulatedDocumentLength == len(result.EncapsulatedDocument)
    assert b"DOE" not in as_file(result)


def test_model_of_a_body_is_refused_in_any_case() -> None:
    """A model can't be replaced by an empty one that means anything."""
    document = instance(SOPClassUID=EncapsulatedSTLStorage, EncapsulatedDocument=b"solid ")
    with pytest.raises(Refused, match="a model"):
        deidentify(document, project(documents="replace"), SECRET)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"SOPClassUID": "1.3.12.2.1107.5.9.1"}, "manufacturer's own SOP class.*private_classes: accept"),
        ({"SOPClassUID": MediaStorageDirectoryStorage}, "a DICOMDIR"),
        ({"SOPClassUID": ""}, "does not say what it is"),
        ({"RecognizableVisualFeatures": "YES"}, "a person can be recognized.*faces: accept"),
    ],
)
def test_instance_that_no_profile_is_for_is_refused(values: dict[str, Any], message: str) -> None:
    """What the standard defines no de-identification for is refused with the cure."""
    with pytest.raises(Refused, match=message):
        deidentify(instance(**values), project(), SECRET)


def _with_private() -> Dataset:
    dataset = instance()
    block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "800")
    block.add_new(0x0E, "FD", [1.0, 0.0, 0.0])
    block.add_new(0x28, "LO", "Planted")
    other = dataset.private_block(0x0019, "SITE'S OWN", create=True)
    other.add_new(0x0C, "IS", "801")
    item = Dataset()
    item.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", "802")
    dataset.ReferencedSeriesSequence = [item]
    return dataset


def test_private_attributes_go_without_the_option() -> None:
    """Nothing private stays, at no depth."""
    result = treated(_with_private())
    assert not [element for element in result.iterall() if element.tag.is_private]


def test_safe_private_attributes_stay_with_their_creator() -> None:
    """With the option the standard's safe elements stay, by their creator and at any depth, and no other."""
    result = treated(_with_private(), Retain.SAFE_PRIVATE)
    block = result.private_block(0x0019, "SIEMENS MR HEADER")
    assert block[0x0C].value == 800
    assert 0x28 not in block
    with pytest.raises(KeyError):
        result.private_block(0x0019, "SITE'S OWN")
    item = result.ReferencedSeriesSequence[0]
    assert item.private_block(0x0019, "SIEMENS MR HEADER")[0x0C].value == 802


def test_own_safe_elements_stay_too() -> None:
    """Elements that the project names stay; their UIDs and names of persons do not, whatever it says."""
    dataset = instance(PatientName="Doe^Jane")
    block = dataset.private_block(0x0021, "SITE", create=True)
    block.add_new(0x01, "LO", "Kernel 5")
    block.add_new(0x02, "UI", "1.2.3.4.5")
    block.add_new(0x03, "PN", "Doe^Jane")
    block.add_new(0x04, "LO", "made for Jane")
    kept = {("SITE", 0x0021): frozenset({1, 2, 3, 4})}
    result = treated(dataset, Retain.SAFE_PRIVATE, private_elements=kept).private_block(0x0021, "SITE")
    assert result[1].value == "Kernel 5"
    assert result[2].value.startswith("2.25.")
    assert 3 not in result
    assert not result[4].value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CT chest abdomen pelvis - 55F Dr. Smith", "CT chest abdomen pelvis"),
        ("TC TÓRAX con contraste, María López", "TC TÓRAX con contraste"),
        ("RM joelho esquerdo 12345678", "RM joelho esquerdo"),
        ("AX T2 FLAIR 5mm 3T", "AX T2 FLAIR 5mm 3T"),
        ("Head 01.02.1970", "Head"),
        ("Pelvis/Leg de Juan", "Pelvis/Leg"),
        ("", ""),
        ("de la", ""),
        ("Doe", ""),
        ("MRN12345678 HEAD", "HEAD"),
        ("chestdoe chest", "chest"),
    ],
)
def test_words_that_are_allowed_stay_in_their_order(text: str, expected: str) -> None:
    """Of a description its known words and measures stay; whatever is not known goes, numbers and dates too."""
    assert only_allowed(text, common_words(), frozenset()).replace(" / ", "/") == expected


def test_word_that_is_somebodys_name_here_goes() -> None:
    """Ms Hip of this instance is not kept for being an allowed word."""
    dataset = instance(PatientName="Hip^Joan", SeriesDescription="HIP left Joan")
    assert treated(dataset, Clean.DESCRIPTORS).SeriesDescription == "left"


def test_texts_of_other_character_sets_are_read_as_such() -> None:
    """A name in Cyrillic is found in a text that stays, and words of a description stay as they were written."""
    dataset = instance(SpecificCharacterSet="ISO_IR 144", PatientName="Люксембург", SeriesDescription="CT Chest")
    dataset.ManufacturerModelName = "прибор люксембург"
    result = treated(dataset, Clean.DESCRIPTORS)
    assert not result.ManufacturerModelName
    assert result.SeriesDescription == "CT Chest"


def test_project_sets_what_it_gives_every_instance() -> None:
    """Attributes of the trial are written as the project says."""
    assert treated(instance(), settings={"ClinicalTrialProtocolID": "L-1"}).ClinicalTrialProtocolID == "L-1"


def test_instance_says_what_was_done_to_it() -> None:
    """The codes of profile and options stand in it, and whether its dates are true."""
    result = treated(instance(), Clean.DESCRIPTORS, Retain.MODIFIED_DATES, Retain.INSTITUTION)
    codes = [code.CodeValue for code in result.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113105", "113107", "113112"]
    assert result.PatientIdentityRemoved == "YES"
    assert result.LongitudinalTemporalInformationModified == "MODIFIED"
    assert treated(instance()).LongitudinalTemporalInformationModified == "REMOVED"
    assert treated(instance(), Retain.FULL_DATES).LongitudinalTemporalInformationModified == "UNMODIFIED"


def test_file_says_nothing_of_where_it_came_from(tmp_path: Path) -> None:
    """Preamble, file meta information and name of the file are new; a copy that failed leaves nothing."""
    dataset = instance()
    dataset.preamble = b"II*\0 DOE^JANE".ljust(128, b"\0")
    dataset.file_meta.SourceApplicationEntityTitle = "HOSPITAL-CT"
    source = tmp_path / "DOE_JANE.dcm"
    source.write_bytes(as_file(dataset))
    target, _ = deidentify_file(source, tmp_path / "out", project(), SECRET)
    written = pydicom.dcmread(target)
    assert written.preamble == bytes(128)
    assert "SourceApplicationEntityTitle" not in written.file_meta
    assert [path.name for path in (tmp_path / "out").rglob("*.*")][-1] == target.name == f"{written.SOPInstanceUID}.dcm"
    source.write_bytes(b"no DICOM")
    with pytest.raises(Refused, match="no DICOM file"):
        deidentify_file(source, tmp_path / "none", project(), SECRET)
    assert not (tmp_path / "none").exists()


def test_report_tells_what_was_done_and_no_value() -> None:
    """Every change is told with its place, what it is called and what was done."""
    item = Dataset()
    item.PatientName = "Doe^Jane"
    result = result_of(instance(StudyDate="20240229", ReferencedSeriesSequence=[Dataset(), item]))
    told = {change.place: (change.name, change.done.value) for change in result.changes}
    assert told["00080020"] == ("StudyDate", "emptied")
    assert told["00081115[2].00100010"] == ("PatientName", "emptied")
    assert told["00080018"] == ("SOPInstanceUID", "given another UID")
    assert "Doe" not in str(told)
