"""`pacs.worklist.matching` and `.questions`: which entry answers which question, and how (PS3.4 C.2.2.2, K.4.1)."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from fixtures.worklist_entries import entry, question
from pacs.worklist.matching import NameMatching, matches
from pacs.worklist.questions import answer_to, as_file, is_latin_1, read_question


def _code(value: str, meaning: str, scheme: str = "99HOSP") -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _reference(sop_class: str, instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
    return item


def _nested(code: Dataset) -> Dataset:
    person = Dataset()
    person.PersonIdentificationCodeSequence = [code]
    return person


ENTRY = entry(
    AccessionNumber="A-7",
    PatientName="Muñoz García^José^^Dr.=山田^太郎",
    PatientID="12.345.678-9",
    IssuerOfPatientID="HOSP",
    StudyInstanceUID="1.2.3",
    ReferringPhysicianName="O'Higgins^Bernardo",
    RequestedProcedureDescription="TC [100%] de tórax",
    PatientWeight="71.5",
    ScheduledStationAETitle=["CT1", "CT2"],
    ScheduledProcedureStepStartDate="20260310",
    ScheduledProcedureStepStartTime="101530.25",
    ScheduledProcedureStepLocation="SALA 1",
    ScheduledPerformingPhysicianName="Núñez^Ana",
    ScheduledProtocolCodeSequence=[_code("TX", "Tórax"), _code("AB", "Abdomen")],
).dataset


def _asks(names: NameMatching = "folded", **keys: object) -> bool:
    return matches(question(**keys), ENTRY, names)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"AccessionNumber": "A-7"},
        {"AccessionNumber": " A-7 "},
        {"AccessionNumber": ""},
        {"AccessionNumber": "*"},
        {"AccessionNumber": "A-?"},
        {"AccessionNumber": "*7"},
        {"AccessionNumber": "A-7*"},
        {"PatientID": "12.345*"},
        {"RequestedProcedureDescription": "TC [100%]*"},
        {"RequestedProcedureDescription": "*tórax"},
        {"ScheduledProcedureStepLocation": "SALA ?"},
        {"PatientName": "Muñoz García^José^^Dr."},
        {"PatientName": "MUNOZ GARCIA^JOSE^^DR."},
        {"PatientName": "muñoz*"},
        {"PatientName": "munoz*^jose*"},
        {"PatientName": "mu?oz*"},
        {"PatientName": "*jose*"},
        {"PatientName": "山田^太郎"},
        {"PatientName": "nobody=山田*"},
        {"PatientName": "山田*"},
        {"ReferringPhysicianName": "O'HIGGINS^BERNARDO^^"},
        {"StudyInstanceUID": "1.2.3"},
        {"StudyInstanceUID": ["1.2", "1.2.3"]},
        {"ScheduledStationAETitle": "CT1"},
        {"ScheduledStationAETitle": "CT2"},
        {"ScheduledStationAETitle": "CT?"},
        {"ScheduledStationAETitle": ["MR1", "CT2"]},
        {"Modality": "CT"},
        {"Modality": ["MR", "CT"]},
        {"ScheduledProcedureStepStartDate": "20260310"},
        {"ScheduledProcedureStepStartDate": "2026.03.10"},
        {"ScheduledProcedureStepStartDate": "20260310-"},
        {"ScheduledProcedureStepStartDate": "-20260310"},
        {"ScheduledProcedureStepStartDate": "20260301-20260331"},
        {"ScheduledProcedureStepStartDate": "-"},
        {"ScheduledProcedureStepStartTime": "101530"},
        {"ScheduledProcedureStepStartTime": "1015"},
        {"ScheduledProcedureStepStartTime": "10:15"},
        {"ScheduledProcedureStepStartTime": "10-11"},
        {"ScheduledProcedureStepStartTime": "-1015"},
        {"ScheduledProcedureStepStartTime": "101530-"},
        {"ScheduledProcedureStepStartDate": "20260310", "ScheduledProcedureStepStartTime": "1000-1100"},
        {"ScheduledProcedureStepStartDate": "20260309-20260310", "ScheduledProcedureStepStartTime": "1200-1100"},
        {"ScheduledProcedureStepStartDate": "20260310-20260311", "ScheduledProcedureStepStartTime": "1000-0900"},
        {"ScheduledProcedureStepStartDate": "20260309-20260311", "ScheduledProcedureStepStartTime": "2300-0100"},
        {"ScheduledProcedureStepStartDate": "20260309-", "ScheduledProcedureStepStartTime": "2300-"},
        {"ScheduledProcedureStepStartDate": "-20260311", "ScheduledProcedureStepStartTime": "-0100"},
        {"ScheduledProcedureStepStartDate": "20260310-20260310", "ScheduledProcedureStepStartTime": ""},
        {"ScheduledProcedureStepStartDate": "*", "ScheduledProcedureStepStartTime": "*"},
        {"ScheduledPerformingPhysicianName": "nunez*"},
        {"ScheduledProtocolCodeSequence": []},
        {"ScheduledProtocolCodeSequence": [Dataset()]},
        {"ScheduledProtocolCodeSequence": [_code("AB", "")]},
        {"ScheduledProtocolCodeSequence": [_code("", "T*")]},
        {"ReferencedStudySequence": [_reference("", "")]},
        {"ReferencedStudySequence": [_reference("*", "")]},
        {"RequestedProcedureCodeSequence": [_code("", "", "")], "ScheduledProtocolCodeSequence": [_code("", "", "")]},
        {"ScheduledPerformingPhysicianIdentificationSequence": [_nested(_code("", "", ""))]},
        {"PatientWeight": "71.5"},
        {"SpecificCharacterSet": "ISO_IR 192", "QueryRetrieveLevel": "STUDY"},
    ],
    ids=str,
)
def test_question_finds(keys: dict[str, object]) -> None:
    """Each kind of matching of DICOM lets through what it describes."""
    assert _asks(**keys)


@pytest.mark.parametrize(
    "keys",
    [
        {"AccessionNumber": "a-7"},
        {"AccessionNumber": "A"},
        {"AccessionNumber": "A-7?"},
        {"AccessionNumber": ".*"},
        {"PatientID": "12?345*6"},
        {"PatientName": "Muñoz"},
        {"PatientName": "García*"},
        {"PatientName": "?oz*"},
        {"RequestedProcedureDescription": "TC ?100%?"},
        {"RequestedProcedureDescription": "*torax"},
        {"StudyInstanceUID": "1.2"},
        {"StudyInstanceUID": "1.2.*"},
        {"StudyInstanceUID": ["1.2", "1.2.3.4"]},
        {"ScheduledStationAETitle": "CT"},
        {"ScheduledStationAETitle": "ct1"},
        {"ScheduledStationAETitle": ["MR1", "MR2"]},
        {"Modality": "C"},
        {"ScheduledProcedureStepStartDate": "20260311"},
        {"ScheduledProcedureStepStartDate": "20260311-"},
        {"ScheduledProcedureStepStartDate": "-20260309"},
        {"ScheduledProcedureStepStartTime": "1016"},
        {"ScheduledProcedureStepStartTime": "11-"},
        {"ScheduledProcedureStepStartTime": "-1014"},
        {"ScheduledProcedureStepStartDate": "20260310", "ScheduledProcedureStepStartTime": "1100-1200"},
        {"ScheduledProcedureStepStartDate": "20260310-20260311", "ScheduledProcedureStepStartTime": "1100-0900"},
        {"ScheduledProcedureStepStartDate": "20260309-20260310", "ScheduledProcedureStepStartTime": "0900-1000"},
        {"ScheduledProcedureStepStartDate": "", "ScheduledProcedureStepStartTime": "11-12"},
        {"ScheduledPerformingPhysicianName": "ana*"},
        {"ScheduledProtocolCodeSequence": [_code("XX", "")]},
        # Both keys must be met by one item.
        {"ScheduledProtocolCodeSequence": [_code("AB", "Tórax")]},
        {"ReferencedStudySequence": [_reference("", "1.2.3")]},
        {"RequestedProcedureCodeSequence": [_code("", "", "99HOSP")]},
        {"ScheduledProcedureStepDescription": "anything"},
        {"RequestedProcedureComments": "?*"},
        {"PatientWeight": "71"},
    ],
    ids=str,
)
def test_question_does_not_find(keys: dict[str, object]) -> None:
    """Identifiers match letter by letter, and what an entry does not have is matched by nothing but everything."""
    assert not _asks(**keys)


@pytest.mark.parametrize(
    ("asked", "found_by"),
    [
        ("Muñoz García^José^^Dr.", {"exact", "folded", "words"}),
        ("Muñoz*", {"exact", "folded", "words"}),
        ("MUNOZ*", {"folded", "words"}),
        ("muñoz", {"words"}),
        ("jose garcia", {"words"}),
        ("garc*", {"words"}),
        ("*^José*", {"exact", "folded", "words"}),
        ("uñoz", set()),
        ("Muñoz^Ana", set()),
    ],
)
def test_names_match_as_set(asked: str, found_by: set[NameMatching]) -> None:
    """The setting decides whether names match by letters, without accents, or by words."""
    settings: tuple[NameMatching, ...] = ("exact", "folded", "words")
    assert {names for names in settings if _asks(names, PatientName=asked)} == found_by


@pytest.mark.parametrize(
    ("asked", "is_found"),
    [
        ("DOE^*", True),
        ("DOE*^*", True),
        ("*^*", True),
        ("^^^^", True),
        ("DOE^*^*^*^*", True),
        ("D?E^", True),
        ("D*^*=*", True),
        ("DOE^?*", False),
        ("DOE^A*", False),
        ("*^DOE", False),
        ("DO^*", False),
    ],
)
def test_components_that_a_name_leaves_out_are_empty(asked: str, is_found: bool) -> None:  # noqa: FBT001
    """Who is known by the family name alone is found by stations that ask for each component."""
    assert matches(question(PatientName=asked), entry(PatientName="DOE").dataset, "folded") is is_found


def test_step_without_time_may_be_at_any_time_of_its_day() -> None:
    """Who asks for the morning is told of a patient who may come at any time."""
    untimed = entry(ScheduledProcedureStepStartTime="").dataset
    for date in ("20260310", "20260301-20260310"):
        keys = question(ScheduledProcedureStepStartDate=date, ScheduledProcedureStepStartTime="0800-1200")
        assert matches(keys, untimed, "folded")


def test_private_keys_are_not_compared() -> None:
    """A modality's private attributes, of which nothing is known, hide nothing."""
    keys = question(AccessionNumber="A-7")
    keys.private_block(0x0009, "VENDOR", create=True).add_new(0x01, "LO", "x")
    assert matches(keys, ENTRY, "folded")
    assert [element.keyword for element in answer_to(keys, ENTRY)] == [
        "AccessionNumber",
        "ScheduledProcedureStepSequence",
    ]


def test_answer_has_what_was_asked_for() -> None:
    """Every key comes back, empty where nothing is known; nothing else does, in items neither."""
    keys = question(PatientID="", PregnancyStatus=None, PatientName="", Modality="", ScheduledProcedureStepLocation="")
    keys.ReferencedPatientSequence = []
    answer = answer_to(keys, ENTRY)
    (item,) = answer.ScheduledProcedureStepSequence
    assert {element.keyword for element in answer} == {element.keyword for element in keys}
    assert (answer.PatientID, answer.PregnancyStatus, len(answer.ReferencedPatientSequence)) == (
        "12.345.678-9",
        None,
        0,
    )
    assert {element.keyword: element.value for element in item} == {
        "Modality": "CT",
        "ScheduledProcedureStepLocation": "SALA 1",
    }


@pytest.mark.parametrize("items", [[], [Dataset()]], ids=["no item", "an empty item"])
def test_empty_sequence_key_asks_for_all_of_it(items: list[Dataset]) -> None:
    """A universal sequence key is answered with whole items."""
    keys = Dataset()
    keys.ScheduledProcedureStepSequence = items
    (item,) = answer_to(keys, ENTRY).ScheduledProcedureStepSequence
    assert item == ENTRY.ScheduledProcedureStepSequence[0]


def _as_sent(keys: Dataset, charset: str | None, codec: str) -> bytes:
    """Return a question as it is on the wire: texts in `codec`, `charset` told or not."""
    for element in keys.iterall():
        if isinstance(element.value, str) and element.VR in {"LO", "SH"}:
            element.value = element.value.encode(codec).decode("latin-1")
    keys.SpecificCharacterSet = "ISO_IR 100"
    target = DicomBytesIO()
    target.is_little_endian, target.is_implicit_VR = True, False
    write_dataset(target, keys)
    content = target.getvalue()
    told = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"
    assert told in content
    replacement = b"" if charset is None else told.replace(b"ISO_IR 100", charset.encode().ljust(10))
    meta = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\x00"
    return (
        b"\0" * 128
        + b"DICM"
        + b"\x02\x00\x00\x00UL\x04\x00\x1c\x00\x00\x00"
        + meta
        + content.replace(told, replacement)
    )


@pytest.mark.parametrize(
    ("charset", "codec"),
    [("ISO_IR 192", "utf-8"), ("ISO_IR 100", "latin-1"), (None, "utf-8"), (None, "latin-1")],
)
def test_question_is_read_in_its_characters(charset: str | None, codec: str) -> None:
    """Accents are understood at the root and in items, also from modalities that don't tell their character set."""
    sent = question(RequestedProcedureDescription="tórax*", ScheduledProcedureStepLocation="Ñuñoa")
    read = read_question(_as_sent(sent, charset, codec))
    assert read.RequestedProcedureDescription == "tórax*"
    assert read.ScheduledProcedureStepSequence[0].ScheduledProcedureStepLocation == "Ñuñoa"


def test_answer_is_written_in_its_character_set() -> None:
    """Names come out of the file as they went in, or are known not to fit."""
    for name, charset in (("Muñoz^José", "ISO_IR 100"), ("Wiśniewski^Łukasz", "ISO_IR 192")):
        answer = answer_to(question(PatientName=""), entry(PatientName=name).dataset)
        assert is_latin_1(answer) == (charset == "ISO_IR 100")
        answer.SpecificCharacterSet = charset
        assert str(dcmread(BytesIO(as_file(answer))).PatientName) == name
